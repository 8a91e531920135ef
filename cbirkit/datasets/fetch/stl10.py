"""STL-10: larger photographs of ten classes, few of them labelled."""

import numpy as np
import pandas as pd

from ..._optional import require
from ...images import ImageCollection
from .download import Download
from .mapped import MappedImages
from .preparing import DataSet, expect, prepare
from .unpack import unpack

SET = DataSet(
    name="stl10",
    title="STL-10",
    n_images=113_000,
    downloads=(
        Download(
            "stl10_binary.tar.gz",
            ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
            2640,
            "md5:91f7769df0f17e558f3565bffb0c7dfb",
        ),
    ),
    unpacked_megabytes=3130,
    page="https://cs.stanford.edu/~acoates/stl10/",
    terms="images from ImageNet: non-commercial research and education; cite Coates, Lee and Ng (2011)",
)
_PARTS = (
    ("train", "database"),
    ("test", "query"),
    ("unlabeled", "unlabelled"),
)  # name in the archive, value of split


def fetch_stl10(*, unlabelled=False, root=None, download=True, progress=True):
    """STL-10: 96 × 96 photographs of ten classes, 5,000 for training, 8,000 for testing and 100,000 without
    labels.

    Address, checksum and file names are torchvision's (`torchvision.datasets.STL10`).

    No retrieval split is standard. Here the official test images are the queries and the official training
    images the database, which is how nearest-neighbour classification is scored on it. What learns without
    labels may learn from the third part, which is made for that; what learns from labels of the training part
    has seen the database, and should say so.

    Parameters
    ----------
    unlabelled : bool, default=False
        Add the 100,000 images without label (``split == "unlabelled"``).
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True

    Returns
    -------
    ImageCollection
        RGB uint8 (96, 96, 3), read from the disk one at a time. Ids ``"train/00000"`` … Columns ``label``
        (class name, None where there is none), ``official`` ("train", "test", "unlabeled") and ``split``
        ("database", "query", "unlabelled").

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Coates, Lee and Ng (2011), An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS.
    """
    ready = prepare(SET, _make, root=root, download=download, progress=progress)
    classes = np.array(
        (ready / "class_names.txt").read_text("ascii").split() + [None], dtype=object
    )
    frames, readers = [], []
    for part, split in _PARTS if unlabelled else _PARTS[:2]:
        pixels = MappedImages(
            ready / f"{part}_X.bin", shape=(3, 96, 96), axes=(2, 1, 0)
        )  # stored column by column
        file = ready / f"{part}_y.bin"
        codes = (
            np.fromfile(file, dtype=np.uint8).astype(int) - 1
            if file.exists()
            else np.full(len(pixels), -1)
        )  # 1 to 10
        ids = [f"{part}/{number:05d}" for number in range(len(pixels))]
        frames.append(
            pd.DataFrame(
                {"label": classes[codes], "official": part, "split": split},
                index=pd.Index(ids, dtype=object),
            )
        )
        readers.append(pixels)
    key = f"stl10 {SET.downloads[0].checksum}"
    return ImageCollection.from_function(
        _OneAfterAnother(readers), pd.concat(frames), key=key, name="stl10"
    )


class _OneAfterAnother:
    """Several `MappedImages` as one."""

    def __init__(self, readers):
        self.readers = readers

    def __call__(self, row):
        for reader in self.readers:
            if row < len(reader):
                return reader(row)
            row -= len(reader)
        raise IndexError(f"there is no image {row}")


def _make(files, folder, progress):
    known = require("torchvision.datasets").STL10
    unpack(
        files[SET.downloads[0].name], folder, progress=progress,
        place=lambda name: name.removeprefix(f"{known.base_folder}/"),
    )  # fmt: skip
    check = require("torchvision.datasets.utils").check_integrity
    for name, md5 in known.train_list + known.test_list:
        if not check(folder / name, md5):
            raise ValueError(f"{name} is missing or has another checksum")
    n_bytes = sum((folder / f"{part}_X.bin").stat().st_size for part, _ in _PARTS)
    expect(n_bytes // (3 * 96 * 96), SET.n_images, "images")
