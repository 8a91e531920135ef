"""What the command line offers by name: encoders and indexes; and which of them a folder uses."""

import difflib
import os
import re
import shutil
from importlib.util import find_spec

from .._atomic import expanded, recover, write_bytes
from .._manifest import MANIFEST, read
from .say import Failure, counted

# Name: (classes of cbirkit.encoders with their arguments, whether it learns from the folder, what it is).
# Mean precision of the first ten on satellite views and on clothes: lite0 0.63 and 0.62, color+hog 0.46 and 0.24.
# Mean precision of the first ten over five sets of real photographs: color+hog 0.31 (7 to 10 ms an image on one
# core), color 0.29, hog 0.28, vlad 0.31 (9 to 31 ms), color+vlad 0.33 (11 to 43 ms).
_COLOR, _HOG, _VLAD = ("ColorHistogram", {}), ("HOG", {"cell": 32}), ("VLAD", {})
ENCODERS = {
    "lite0": (
        (("Deep", {"backbone": "lite0"}),),
        False,
        "a neural network trained on ImageNet, EfficientNet-Lite0; best on most folders",
    ),
    "tiny": (
        (("Deep", {"backbone": "tiny"}),),
        False,
        "the small neural network that ships with cbirkit; quicker",
    ),
    "color+hog": ((_COLOR, _HOG), False, "colours and outlines; quick, and fair on most folders"),
    "color+vlad": (
        (_COLOR, _VLAD),
        True,
        "colours and local features learnt from the folder; slower, often better",
    ),
    "color": ((_COLOR,), False, "joint histogram of hue, saturation and value"),
    "hog": ((_HOG,), False, "outlines: histograms of oriented gradients"),
    "lbp": ((("LBP", {}),), False, "fine texture: local binary patterns"),
    "tiny-image": ((("TinyImage", {}),), False, "the image squeezed to 16 x 16 pixels"),
    "bow": ((("BagOfWords", {}),), True, "local features as visual words learnt from the folder"),
    "vlad": ((_VLAD,), True, "local features, aggregated, learnt from the folder"),
}
INDEXES = {"exact": "Exact", "annoy": "Annoy", "hnsw": "HNSW", "ivfpq": "IVFPQ"}
WITHOUT_TORCH = "color+hog"
_MOST_TO_LEARN_FROM = 500  # images for a codebook
_MARK = "CACHEDIR.TAG"  # bford.info/cachedir: backups pass over such folders
_MARK_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# cbirkit keeps here what it computed of a folder of images. All of it can be computed again.
"""
_SAVED_NAME = re.compile(
    r"(manifest|state|index)\.json|database|encoder|\d{5}\.npy|[a-z]+\.(npy|faiss|ann)"
)


def recipe(name):
    """(parts, whether it learns, what it is) as in `ENCODERS`; any other name is one of a network."""
    return ENCODERS.get(name) or (
        (("Deep", {"backbone": name}),),
        False,
        "a neural network with its official weights",
    )


def lacking(name):
    """Packages that an encoder needs and that are not installed."""
    if recipe(name)[0][0][0] != "Deep":
        return []
    from ..nets import LITE0_PACKAGE

    other = "timm" if name.startswith("timm/") else "torchvision"
    needed = {"lite0": ["torch", "timm", LITE0_PACKAGE], "tiny": ["torch"]}.get(
        name, ["torch", other]
    )
    return [package for package in needed if not find_spec(package.replace("-", "_"))]


def default_encoder():
    """Name of the best encoder that can be had here."""
    return next(name for name in ("lite0", "tiny", WITHOUT_TORCH) if not lacking(name))


def check_encoder(name):
    """A ValueError, in one sentence, unless `name` is an encoder or a network of torchvision or timm."""
    if name in ENCODERS:
        return
    near = difflib.get_close_matches(name, ENCODERS, n=1)
    try:
        if lacks := lacking(name):
            raise ValueError(f"{name!r} needs {installing(lacks)}")
        from ..nets.backbones import preprocessing_of

        preprocessing_of(name)
    except ValueError as error:
        if near:
            raise ValueError(f"there is no encoder {name!r}; did you mean {near[0]}?") from None
        raise ValueError(
            f"it is no encoder ({', '.join(ENCODERS)}), and as a network: {error}"
        ) from error


def installing(packages):
    """Names of packages, and the line that installs them."""
    return f"{' and '.join(packages)}: pip install {' '.join(packages)}"


def checked_folder(arguments):
    """The images of a folder, with their labels; a `Failure` where there are none."""
    from ..images import ImageCollection

    try:
        return ImageCollection.from_folder(
            arguments.folder, labels=labels_file(arguments) or "folder"
        )
    except (OSError, ValueError) as error:
        raise Failure(" ".join(str(error).split())) from error


def out_folder(arguments):
    """Where the index of a folder is kept; a `Failure` where that would touch what cbirkit did not write."""
    out = expanded(arguments.out or os.path.join(arguments.folder, ".cbirkit"))
    elsewhere = "choose a new or an empty folder with --out DIR"
    if out.is_symlink() and not arguments.out:
        raise Failure(
            f"{out} is a link, which may lead anywhere; name the place itself with --out DIR"
        )
    try:
        names = os.listdir(out)
    except OSError:  # none yet, a file, or not to be looked into: writing will tell
        return out
    foreign = [
        name
        for name in names
        if not name.startswith(".") and name not in ("Thumbs.db", "desktop.ini")
    ]
    mark = out / _MARK
    if foreign and not (mark.is_file() and mark.read_bytes()[: len(_MARK_TEXT)] == _MARK_TEXT):
        raise Failure(f"{out} holds {foreign[0]}, which cbirkit did not put there; {elsewhere}")
    for folder, folders, files in os.walk(out):
        for path in (os.path.join(folder, name) for name in folders + files):
            if os.path.islink(path) or (
                os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
            ):
                raise Failure(
                    f"{path} is a link or a device, which cbirkit does not put there; delete it, or {elsewhere}"
                )
    return out


def claim(out):
    """Make the folder of an index and mark it as one."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / _MARK).exists():
        write_bytes(out / _MARK, _MARK_TEXT)


def save_anew(save, folder):
    """Save into a part of an index, also where a damaged one stands in the way and nothing else lies in it."""
    try:
        save(folder)
    except FileExistsError:
        if folder.is_file():
            folder.unlink()
        elif all(path.is_dir() or _SAVED_NAME.fullmatch(path.name) for path in folder.rglob("*")):
            shutil.rmtree(folder)
        save(folder)


def kept_settings(out):
    """What the index in `out` was made with: a dict of encoder and index, or empty."""
    try:
        recover(out / "retriever")
        kept = read(out / "retriever" / MANIFEST)["about"]
        return kept if isinstance(kept["encoder"], str) and kept["index"] in INDEXES else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def labels_file(arguments):
    """The CSV file of labels that was asked for; else the one in the folder itself that the index was made with, or None."""
    kept = kept_settings(out_folder(arguments)).get("labels")
    if arguments.labels and os.path.abspath(os.path.dirname(arguments.labels)) == os.path.abspath(
        arguments.folder
    ):
        return os.path.basename(arguments.labels)
    if arguments.labels and os.path.dirname(arguments.labels):
        return os.path.abspath(arguments.labels)
    return arguments.labels or (
        kept if isinstance(kept, str) and os.path.basename(kept) == kept else None
    )


def choose(arguments, out, printer):
    """Names of encoder and index: those asked for, those used before, or the defaults, which a note tells."""
    kept = kept_settings(out)
    encoder = arguments.encoder or kept.get("encoder")
    try:
        if encoder and not arguments.encoder:
            check_encoder(encoder)
    except ValueError:
        printer.note(
            f"the index in {out} was made with encoder {encoder[:40]!r}, which is not there any more: it has to be made anew"
        )
        encoder = None
    if encoder is None:
        encoder, lacks = default_encoder(), lacking("lite0")
        why = f"as lite0 needs {installing(lacks)}" if lacks else "the best for most folders"
        printer.note(f"encoder {encoder}, {why}; --encoder NAME takes another")
    elif lacks := lacking(encoder):
        raise Failure(
            f"encoder {encoder} needs {installing(lacks)}; or use --encoder {default_encoder()}"
        )
    return encoder, getattr(arguments, "index", None) or kept.get("index") or "exact"


def make_encoder(name):
    """A new encoder by its name on the command line."""
    from .. import encoders

    parts = [getattr(encoders, part)(**keywords) for part, keywords in recipe(name)[0]]
    if len(parts) == 1:
        return parts[0]
    from sklearn.pipeline import make_union

    return make_union(*parts)


def encoder_code(name):
    """Python that makes the same encoder, with ``encoders`` and ``make_union`` imported."""
    calls = []
    for part, keywords in recipe(name)[0]:
        inside = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        calls.append(f"encoders.{part}({inside})")
    return calls[0] if len(calls) == 1 else f"make_union({', '.join(calls)})"


def make_index(name):
    """A new index by its name on the command line."""
    from .. import indexes

    return getattr(indexes, INDEXES[name])()


def prepared_encoder(name, images, out, printer, *, keep=True):
    """An encoder ready for use. What it learns is kept in `out`, so that embeddings made before stay valid.

    Parameters
    ----------
    name : str
    images : ImageCollection
        Some of them, evenly spaced, are what it learns from.
    out : pathlib.Path
    printer : cbirkit.cli.say.Printer
    keep : bool
        False: what it learns now is not kept.

    Returns
    -------
    fitted encoder
    """
    encoder, kept = make_encoder(name), out / "encoders" / name
    if not recipe(name)[1]:
        return encoder
    from ..persistence import load_estimator, save_estimator

    if kept.exists():
        try:
            if repr(learnt := load_estimator(kept)) == repr(encoder):
                return learnt
            printer.note(f"the encoder in {kept} is another one")
        except (OSError, ValueError) as error:
            printer.note(f"the encoder in {kept} cannot be used ({error})")
    sample = images[:: -(-len(images) // _MOST_TO_LEARN_FROM)].verify(progress=False)
    if not len(sample):
        raise Failure(
            f"none of the images can be read, so {name} cannot learn; index with --encoder color to see why"
        )
    printer.note(
        f"learning {name} from {counted(len(sample), 'image')}{'; this is done once' * keep}"
    )
    try:
        encoder.fit(sample)
    except ValueError as error:
        raise Failure(
            f"{name} cannot learn from this folder ({error}); use --encoder {WITHOUT_TORCH}"
        ) from error
    if keep:
        save_anew(lambda folder: save_estimator(encoder, folder), kept)
    return encoder
