"""Two sets whose folders are their classes and that have no official split: Caltech-101 and EuroSAT."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from ..._optional import require
from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all
from .unpack import unpack

CALTECH = DataSet(
    name="caltech101",
    title="Caltech-101",
    n_images=8677,
    downloads=(
        Download(
            "caltech-101.zip",
            ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
            137,
            "md5:3138e1922a9193bfa496528edbbc45d0",
        ),
    ),
    unpacked_megabytes=150,
    page="https://data.caltech.edu/records/mzrjq-6wc02",
    terms="see its record; images were collected from the web",
)
EUROSAT = DataSet(
    name="eurosat",
    title="EuroSAT (RGB)",
    n_images=27_000,
    downloads=(
        Download(
            "EuroSAT.zip",
            (
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            ),
            94,
            "md5:c8fa014336c82ac7804f0398fcb19387",
        ),
    ),
    unpacked_megabytes=130,
    page="https://github.com/phelber/eurosat",
    terms="MIT; made from Copernicus Sentinel data",
)


def fetch_caltech101(*, root=None, download=True, progress=True, random_state=0):
    """Caltech-101: photographs of objects of 101 categories, 31 to 800 of each.

    Address and checksum are torchvision's (`torchvision.datasets.Caltech101`), which also lists the images.
    The background category is left out, as there.

    No split is official. The authors' page asks for fixed numbers of images per category, drawn at random
    several times, and names 30 for training and 20 or 30 for testing as usual; so here 30 of each category
    are the database and at most 20 others the queries, and the rest is unused, lest the few large categories
    decide the mean. Repeat with other values of `random_state`.

    Parameters
    ----------
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True
    random_state : int or RandomState, default=0
        For the draw.

    Returns
    -------
    ImageCollection
        Ids ``"accordion/image_0001.jpg"`` … Columns ``label`` and ``split`` ("database", "query", "unused").

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Fei-Fei, Fergus and Perona (2004), Learning generative visual models from few training examples, CVPR
    workshops.
    """
    ready = prepare(CALTECH, _make_caltech, root=root, download=download, progress=progress)
    reader = require("torchvision.datasets").Caltech101(ready)
    labels = [reader.categories[code] for code in reader.y]
    folder = ready / "caltech101" / "101_ObjectCategories"
    paths = [
        folder / label / f"image_{number:04d}.jpg"
        for label, number in zip(labels, reader.index, strict=True)
    ]
    rng = check_random_state(random_state)
    split = np.full(len(labels), "unused", dtype=object)
    for label in reader.categories:
        members = rng.permutation(np.flatnonzero(np.array(labels) == label))
        split[members[:30]] = "database"
        split[members[30:50]] = "query"
    table = pd.DataFrame({"label": labels, "split": split})
    return ImageCollection.from_files(paths, table, root=folder, name=CALTECH.name)


def _make_caltech(files, folder, progress):
    """The zip file holds a tar file with the images and another one with outlines."""

    def images_only(name):
        return name if name.startswith("101_ObjectCategories/") and name.endswith(".jpg") else None

    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack_all(
            files,
            Path(place),
            progress,
            lambda name: name if name.endswith("101_ObjectCategories.tar.gz") else None,
        )
        inner = sorted(
            path
            for path in Path(place).rglob("101_ObjectCategories.tar.gz")
            if "__MACOSX" not in path.parts
        )
        expect(len(inner), 1, "archives of images in it")
        unpack(inner[0], folder / "caltech101", place=images_only, progress=progress)
    found = [path.parent.name for path in folder.rglob("*.jpg")]
    expect(len(found) - found.count("BACKGROUND_Google"), CALTECH.n_images, "images")


def fetch_eurosat(*, root=None, download=True, progress=True, random_state=0):
    """EuroSAT: 27,000 satellite images of 64 × 64 pixels (Sentinel-2, red, green, blue) in ten classes of
    land use.

    Address, checksum and reading are torchvision's (`torchvision.datasets.EuroSAT`).

    No split is official; the authors report random splits from 10/90 to 90/10. Here a fifth of each class,
    drawn at random, is the queries and the rest the database: their 80/20. Tiles of one Sentinel scene may
    fall on both sides, so figures are optimistic for places that were never seen.

    Parameters
    ----------
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True
    random_state : int or RandomState, default=0
        For the draw.

    Returns
    -------
    ImageCollection
        Ids ``"AnnualCrop/AnnualCrop_1.jpg"`` … Columns ``label`` and ``split`` ("database", "query").

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Helber, Bischke, Dengel and Borth (2019), EuroSAT, IEEE JSTARS, arXiv:1709.00029.
    """
    ready = prepare(EUROSAT, _make_eurosat, root=root, download=download, progress=progress)
    reader = require("torchvision.datasets").EuroSAT(ready)
    labels = np.array([reader.classes[code] for _, code in reader.samples], dtype=object)
    rng = check_random_state(random_state)
    split = np.full(len(labels), "database", dtype=object)
    for label in reader.classes:
        members = rng.permutation(np.flatnonzero(labels == label))
        split[members[: round(len(members) / 5)]] = "query"
    table = pd.DataFrame({"label": labels, "split": split})
    paths = [path for path, _ in reader.samples]
    return ImageCollection.from_files(
        paths, table, root=ready / "eurosat" / "2750", name=EUROSAT.name
    )


def _make_eurosat(files, folder, progress):
    unpack_all(
        files,
        folder,
        progress,
        lambda name: f"eurosat/{name}" if re.fullmatch(r"2750/.+\.jpg", name) else None,
    )
    expect(len(list((folder / "eurosat" / "2750").rglob("*.jpg"))), EUROSAT.n_images, "images")
