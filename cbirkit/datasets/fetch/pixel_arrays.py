"""Sets of small photographs that are kept as arrays of pixels: CIFAR-10, with the splits of papers on hashing, and STL-10."""

import json
import tempfile
from functools import partial

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection

from .labelled import shuffled_classes
from .readers import read_mapped, read_pickle
from .registry import DATA_SETS, expect, prepare, register
from .unpack import unpack

_STL10_BYTES = 3 * 96 * 96  # an image
PROTOCOLS = ("59k", "54k", "official")
# Name in the archive of STL-10, value of split.
_PARTS = (("train", "database"), ("test", "query"), ("unlabeled", "unlabelled"))


def _make_cifar10(data_set, files, folder, progress):
    """Pixels as one npy file (n, 32, 32, 3), labels as JSON."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(*files.values(), place, progress=progress, place=data_set.place)
        names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
        *train, test, meta = (
            read_pickle(f"{place}/{n}", arrays=True) for n in [*names, "batches.meta"]
        )
    labels = [label for batch in [*train, test] for label in batch["labels"]]
    pixels = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in [*train, test]])
    pixels = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    expect(len(pixels), data_set.n_images, "images")
    np.save(folder / "pixels.npy", np.ascontiguousarray(pixels))
    n_train = len(labels) - len(test["labels"])
    known = {"n_train": n_train, "classes": meta["label_names"], "labels": labels}
    (folder / "labels.json").write_text(json.dumps(known), "utf-8")


@register("cifar10")
def fetch_cifar10(*, protocol="59k", root=None, download=True, progress=True, random_state=0):
    """CIFAR-10: 60,000 colour photographs of 32 × 32 pixels in ten classes.

    Address and checksum are torchvision's (`torchvision.datasets.CIFAR10`); the pickled batches
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
    official = np.where(numbers < n_train, "train", "test").astype(object)
    split, train = _split_cifar10(labels, official, protocol, random_state)
    names = np.array(known["classes"], dtype=object)[labels]
    columns = {"label": names, "official": official, "split": split, "train": train}
    table = pd.DataFrame(columns, index=_ids(official, numbers - n_train * (official == "test")))
    key = f"cifar10 {DATA_SETS['cifar10'].downloads[0].checksum}"
    pixels = partial(read_mapped, str(ready / "pixels.npy"))
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
    n_bytes = sum(path.stat().st_size for path in folder.glob("*_X.bin"))
    expect(n_bytes // _STL10_BYTES, data_set.n_images, "images")


@register("stl10")
def fetch_stl10(*, unlabelled=False, root=None, download=True, progress=True):
    """STL-10: 96 × 96 photographs of ten classes, 5,000 for training, 8,000 for testing and 100,000 without
    labels.

    Address and checksum are torchvision's (`torchvision.datasets.STL10`).

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
    frames = []
    for part, split in _PARTS if unlabelled else _PARTS[:2]:
        n_images = (ready / f"{part}_X.bin").stat().st_size // _STL10_BYTES
        codes = np.full(n_images, -1)
        if (file := ready / f"{part}_y.bin").exists():
            codes = np.fromfile(file, dtype=np.uint8).astype(int) - 1  # 1 to 10
        columns = {"label": classes[codes], "official": part, "split": split}
        frames.append(pd.DataFrame(columns, index=_ids([part] * n_images, range(n_images))))
    table = pd.concat(frames)
    read = partial(_read_stl10, str(ready), table.index.to_list())
    key = f"stl10 {DATA_SETS['stl10'].downloads[0].checksum}"
    return ImageCollection.from_function(read, table, key=key, name="stl10")


def _read_stl10(folder, ids, row):
    part, number = ids[row].split("/")
    # Stored column by column.
    return read_mapped(f"{folder}/{part}_X.bin", int(number), shape=(3, 96, 96), axes=(2, 1, 0))
