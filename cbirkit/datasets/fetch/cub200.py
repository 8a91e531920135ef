"""CUB-200-2011: 200 species of birds, half of them to learn from and half to test on."""

import re

import numpy as np
import pandas as pd

from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all

SET = DataSet(
    name="cub200",
    title="CUB-200-2011",
    n_images=11_788,
    downloads=(
        Download(
            "CUB_200_2011.tgz",
            ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
            1151,
            "md5:97eceeb196236b17998738112f37df78",
        ),
    ),
    unpacked_megabytes=1170,
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    terms="non-commercial research and education; photographs belong to their authors; cite Wah et al. (2011)",
)
_TABLES = (
    "images.txt",
    "image_class_labels.txt",
    "classes.txt",
    "train_test_split.txt",
    "bounding_boxes.txt",
)


def fetch_cub200(*, root=None, download=True, progress=True):
    """Caltech-UCSD Birds 200-2011: 11,788 photographs of 200 species.

    Protocol of metric learning (Oh Song et al. 2016): learn from the first 100 species (5,864 images), test
    on the other 100 (5,924), where every image is a query against all others; Recall@1 (here ``hit_rate@1``).
    Boxes and parts are not used::

        train, test = fetch_cub200().split(parts=("train", "test"))
        relevance = test.relevance()

    Many papers choose the epoch on the test species; take a validation split out of ``train`` by class
    instead (``train.split(fraction=0.8, disjoint="label")``).

    The checksum is the one that open code has used for the archive for years.

    Parameters
    ----------
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True

    Returns
    -------
    ImageCollection
        Ids ``"001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg"`` … Columns ``label``
        (species, with its number), ``class_number`` (1 to 200), ``split`` ("train", "test": by species),
        ``official`` ("train", "test": the split for classification, within species), and ``x``, ``y``,
        ``width``, ``height`` (box in pixels).

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Wah, Branson, Welinder, Perona and Belongie (2011), The Caltech-UCSD Birds-200-2011 Dataset,
    CNS-TR-2011-001. Oh Song, Xiang, Jegelka and Savarese (2016), Deep Metric Learning via Lifted Structured
    Feature Embedding, CVPR, arXiv:1511.06452.
    """
    ready = prepare(SET, _make, root=root, download=download, progress=progress)
    table = _table(ready)
    names = table.pop("name")
    return ImageCollection.from_files(
        [ready / "images" / name for name in names],
        table.reset_index(drop=True),
        root=ready / "images",
        name="cub200",
    )


def _table(folder):
    """One row an image, in the order of images.txt."""

    def read(name, columns):
        return pd.read_csv(
            folder / name, sep=" ", header=None, names=["number", *columns], index_col="number"
        )

    table = read("images.txt", ["name"])
    for name, columns in (
        ("image_class_labels.txt", ["class_number"]),
        ("train_test_split.txt", ["official"]),
        ("bounding_boxes.txt", ["x", "y", "width", "height"]),
    ):
        table = table.join(read(name, columns), validate="one_to_one")
    classes = read("classes.txt", ["label"])["label"]
    if table.isna().any(axis=None):
        raise ValueError("its tables do not belong together")
    return table.assign(
        label=classes.loc[table["class_number"]].to_numpy(),
        split=np.where(table["class_number"] <= len(classes) // 2, "train", "test"),
        official=np.where(table["official"] == 1, "train", "test"),
    )


def _make(files, folder, progress):
    def place(name):
        inside = re.sub(r"^CUB_200_2011/", "", name)
        return inside if inside in _TABLES or re.fullmatch(r"images/.+\.jpg", inside) else None

    unpack_all(files, folder, progress, place)
    missing = [name for name in _TABLES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    found = sum((folder / "images" / name).is_file() for name in _table(folder)["name"])
    expect(found, SET.n_images, "images")
