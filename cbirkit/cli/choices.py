"""What the command line offers by name: encoders and indexes; and which of them a folder uses."""

import json
from importlib.util import find_spec
from pathlib import Path

from .say import Failure, counted

# Name: (classes of cbirkit.encoders with their arguments, whether it learns from the folder, what it is).
# Mean precision of the first ten on satellite views and on clothes: deep 0.68 and 0.61, color+hog 0.46 and 0.24.
# Mean precision of the first ten over five sets of real photographs: color+hog 0.31 (7 to 10 ms an image on one
# core), color 0.29, hog 0.28, vlad 0.31 (9 to 31 ms), color+vlad 0.33 (11 to 43 ms).
_COLOR, _HOG, _VLAD = ("ColorHistogram", {}), ("HOG", {"cell": 32}), ("VLAD", {})
ENCODERS = {
    "deep": (
        (("Deep", {}),),
        False,
        "the small neural network that ships with cbirkit; needs torch, and is best on most folders",
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


def default_encoder():
    """Name of the best encoder that can be had here."""
    return "deep" if find_spec("torch") else WITHOUT_TORCH


def checked_folder(folder):
    """The images of a folder; a `Failure` where there are none."""
    from ..images import ImageCollection

    try:
        return ImageCollection.from_folder(folder)
    except (OSError, ValueError) as error:
        raise Failure(" ".join(str(error).split())) from error


def out_folder(arguments):
    """Where the index of a folder is kept."""
    out = Path(arguments.out) if arguments.out else Path(arguments.folder) / ".cbirkit"
    return out.expanduser()


def kept_settings(out):
    """What the index in `out` was made with: a dict of encoder, index and the time ``seen`` (seconds), or empty."""
    try:
        kept = json.loads((out / "settings.json").read_text("utf-8"))
        return kept if kept["encoder"] in ENCODERS and kept["index"] in INDEXES else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def choose(arguments, out):
    """Names of encoder and index: those asked for, those used before, or the defaults."""
    kept = kept_settings(out)
    encoder = arguments.encoder or kept.get("encoder") or default_encoder()
    return encoder, arguments.index or kept.get("index") or "exact"


def make_encoder(name):
    """A new encoder by its name on the command line."""
    from .. import encoders

    parts = [getattr(encoders, part)(**keywords) for part, keywords in ENCODERS[name][0]]
    if len(parts) == 1:
        return parts[0]
    from sklearn.pipeline import make_union

    return make_union(*parts)


def encoder_code(name):
    """Python that makes the same encoder, with ``encoders`` and ``make_union`` imported."""
    calls = []
    for part, keywords in ENCODERS[name][0]:
        inside = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        calls.append(f"encoders.{part}({inside})")
    return calls[0] if len(calls) == 1 else f"make_union({', '.join(calls)})"


def make_index(name):
    """A new index by its name on the command line."""
    from .. import indexes

    return getattr(indexes, INDEXES[name])()


def prepared_encoder(name, images, out, printer):
    """An encoder ready for use. What it learns is kept in `out`, so that embeddings made before stay valid.

    Parameters
    ----------
    name : str
    images : ImageCollection
        Some of them, evenly spaced, are what it learns from.
    out : pathlib.Path
    printer : cbirkit.cli.say.Printer

    Returns
    -------
    fitted encoder
    """
    encoder = make_encoder(name)
    if not ENCODERS[name][1]:
        return encoder
    from ..persistence import load_estimator, save_estimator

    kept = out / "encoders" / name
    if kept.exists():
        return load_estimator(kept)
    sample = images[:: -(-len(images) // _MOST_TO_LEARN_FROM)].verify(progress=False)
    if not len(sample):
        raise Failure(
            f"none of the images can be read, so {name} cannot learn; index with --encoder color to see why"
        )
    printer.note(f"learning {name} from {counted(len(sample), 'image')}; this is done once")
    try:
        encoder.fit(sample)
    except ValueError as error:
        raise Failure(
            f"{name} cannot learn from this folder ({error}); use --encoder {WITHOUT_TORCH}"
        ) from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_estimator(encoder, kept)
    return encoder
