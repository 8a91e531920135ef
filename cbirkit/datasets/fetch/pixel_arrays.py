"""Sets of small photographs that are kept as arrays of pixels: CIFAR-10, with the splits of papers on hashing, and STL-10."""

import json
import tempfile

import numpy as np
import pandas as pd

from cbirkit._optional import require
from cbirkit.images import ImageCollection

from .labelled import shuffled_classes
from .readers import MappedImages, read_cifar_batch
from .registry import DATA_SETS, expect, prepare, register
from .unpack import unpack

PROTOCOLS = ("59k", "54k", "official")
_PARTS = (  # name in the archive of STL-10, value of split
    ("train", "database"),
    ("test", "query"),
    ("unlabeled", "unlabelled"),
)


def _check_files(folder, known):
    """Raise ValueError unless the files have the checksums that torchvision knows."""
    check = require("torchvision.datasets.utils").check_integrity
    for name, md5 in known:
        if not check(f"{folder}/{name}", md5):
            raise ValueError(f"{name} is missing or has another checksum")


def _make_cifar10(data_set, files, folder, progress):
    """Pixels as one npy file (n, 32, 32, 3), labels as JSON."""
    known = require("torchvision.datasets").CIFAR10
    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(*files.values(), place, progress=progress)
        inside = f"{place}/{known.base_folder}"
        listed = known.train_list + known.test_list
        _check_files(inside, listed)
        batches = [read_cifar_batch(f"{inside}/{name}") for name, _ in listed]
        meta = read_cifar_batch(f"{inside}/{known.meta['filename']}")
    labels = [label for batch in batches for label in batch["labels"]]
    pixels = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
    pixels = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    expect(len(pixels), data_set.n_images, "images")
    expect(len(labels), data_set.n_images, "labels")
    np.save(folder / "pixels.npy", np.ascontiguousarray(pixels))
    classes = meta[known.meta["key"]]
    if not all(isinstance(label, int) and 0 <= label < len(classes) for label in labels):
        raise ValueError("labels are not the numbers of classes")
    n_train = sum(len(batch["labels"]) for batch in batches[: len(known.train_list)])
    text = json.dumps({"n_train": n_train, "classes": classes, "labels": labels})
    (folder / "labels.json").write_text(text, "utf-8")


@register("cifar10")
def fetch_cifar10(*, protocol="59k", root=None, download=True, progress=True, random_state=0):
    """CIFAR-10: 60,000 colour photographs of 32 × 32 pixels in ten classes.

    Address, checksums and file names are torchvision's (`torchvision.datasets.CIFAR10`); the pickled batches
    are read without running anything they name and kept as npy.

    Parameters
    ----------
    protocol : {"59k", "54k", "official"}, default="59k"
        Papers on hashing use three splits and often do not say which; the published mAP of one method differs
        between them by more than ten points.

        - ``"59k"``: 1,000 queries (100 of each class), the other 59,000 images are the database, and 5,000 of
          these (500 of each class) are marked for training. Used by CNNH (Xia et al. 2014) and DPSH (Li, Wang
          and Kang 2016, arXiv:1511.03855).
        - ``"54k"``: the same draw, but the 5,000 training images are left out of the database: the split called
          ``cifar10`` in the widely used code base DeepHash-pytorch, where ``"59k"`` is called ``cifar10-1``.
        - ``"official"``: the 10,000 test images are queries; the 50,000 training images are database and
          training set (``cifar10-2`` there).

        The papers draw at random and publish no lists of images, so numbers agree up to the draw.
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True
    random_state : int or RandomState, default=0
        For the draw of "59k" and "54k".

    Returns
    -------
    ImageCollection
        RGB uint8 (32, 32, 3). Ids ``"train/00000"`` … ``"test/09999"`` (official part and position in it).
        Columns ``label`` (class name), ``official`` ("train" or "test"), ``split`` ("query", "database";
        under "54k" also "train") and ``train`` (bool: may be learnt from). ``queries, database =
        images.split()``; relevance is by label. Usual figures: mAP over the whole ranking, or over the first
        1,000 (say which).

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.
    ValueError
        An unknown protocol.

    References
    ----------
    Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    ready = prepare("cifar10", _make_cifar10, root=root, download=download, progress=progress)
    known = json.loads((ready / "labels.json").read_text("utf-8"))
    labels, n_train = np.array(known["labels"]), known["n_train"]
    numbers = np.arange(len(labels))
    in_train = numbers < n_train
    official = np.where(in_train, "train", "test").astype(object)
    numbers = np.where(in_train, numbers, numbers - n_train)
    split, train = _split_cifar10(labels, official, protocol, random_state)
    table = pd.DataFrame(
        {
            "label": np.array(known["classes"], dtype=object)[labels],
            "official": official,
            "split": split,
            "train": train,
        },
        index=_ids(official, numbers),
    )
    key = f"cifar10 {DATA_SETS['cifar10'].downloads[0].checksum}"
    pixels = MappedImages(ready / "pixels.npy")
    return ImageCollection.from_function(pixels, table, key=key, name="cifar10")


def _ids(parts, numbers):
    ids = [f"{part}/{number:05d}" for part, number in zip(parts, numbers, strict=True)]
    return pd.Index(ids, dtype=object)


def _split_cifar10(labels, official, protocol, random_state):
    if protocol == "official":
        return np.where(official == "test", "query", "database").astype(object), official == "train"
    split = np.full(len(labels), "database", dtype=object)
    train = np.zeros(len(labels), dtype=bool)
    for members in shuffled_classes(labels, random_state):
        n_query, n_train = len(members) // 60, len(members) // 12  # 100 and 500 of 6,000
        split[members[:n_query]] = "query"
        train[members[n_query : n_query + n_train]] = True
    if protocol == "54k":
        split[train] = "train"
    return split, train


def _make_stl10(data_set, files, folder, progress):
    data_set.unpack(files, folder, progress)
    known = require("torchvision.datasets").STL10
    _check_files(folder, known.train_list + known.test_list)
    n_bytes = sum((folder / f"{part}_X.bin").stat().st_size for part, _ in _PARTS)
    expect(n_bytes // (3 * 96 * 96), data_set.n_images, "images")


@register("stl10")
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
    ready = prepare("stl10", _make_stl10, root=root, download=download, progress=progress)
    names = (ready / "class_names.txt").read_text("ascii").split()
    classes = np.array([*names, None], dtype=object)
    frames, readers = [], []
    for part, split in _PARTS if unlabelled else _PARTS[:2]:
        # Stored column by column.
        pixels = MappedImages(ready / f"{part}_X.bin", shape=(3, 96, 96), axes=(2, 1, 0))
        codes = np.full(len(pixels), -1)
        if (file := ready / f"{part}_y.bin").exists():
            codes = np.fromfile(file, dtype=np.uint8).astype(int) - 1  # 1 to 10
        columns = {"label": classes[codes], "official": part, "split": split}
        index = _ids([part] * len(pixels), range(len(pixels)))
        frames.append(pd.DataFrame(columns, index=index))
        readers.append(pixels)
    key = f"stl10 {DATA_SETS['stl10'].downloads[0].checksum}"
    pixels = _OneAfterAnother(readers)
    return ImageCollection.from_function(pixels, pd.concat(frames), key=key, name="stl10")


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
