"""CIFAR-10: 60,000 small photographs, and the splits that papers on hashing use."""

import json
import tempfile

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from ..._optional import require
from ...images import ImageCollection
from .download import Download
from .mapped import MappedImages
from .plain_pickle import read_cifar_batch
from .preparing import DataSet, expect, prepare
from .unpack import unpack

SET = DataSet(
    name="cifar10",
    title="CIFAR-10",
    n_images=60_000,
    downloads=(
        Download(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            170,
            "md5:c58f30108f718f92721af3b95e74349a",
        ),
    ),
    unpacked_megabytes=185,
    page="https://www.cs.toronto.edu/~kriz/cifar.html",
    terms="no licence stated; cite Krizhevsky (2009)",
)

PROTOCOLS = ("59k", "54k", "official")


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
    ready = prepare(SET, _make, root=root, download=download, progress=progress)
    known = json.loads((ready / "labels.json").read_text("utf-8"))
    labels = np.array(known["labels"])
    official = np.repeat(
        ["train", "test"], [known["n_train"], len(labels) - known["n_train"]]
    ).astype(object)
    numbers = np.concatenate(
        [np.arange(known["n_train"]), np.arange(len(labels) - known["n_train"])]
    )
    split, train = _split(labels, official, protocol, random_state)
    table = pd.DataFrame(
        {
            "label": np.array(known["classes"], dtype=object)[labels],
            "official": official,
            "split": split,
            "train": train,
        },
        index=pd.Index(
            [f"{part}/{number:05d}" for part, number in zip(official, numbers, strict=True)],
            dtype=object,
        ),
    )
    pixels = MappedImages(ready / "pixels.npy")
    return ImageCollection.from_function(
        pixels, table, key=f"cifar10 {SET.downloads[0].checksum}", name="cifar10"
    )


def _split(labels, official, protocol, random_state):
    if protocol == "official":
        return np.where(official == "test", "query", "database").astype(object), official == "train"
    rng = check_random_state(random_state)
    split = np.full(len(labels), "database", dtype=object)
    train = np.zeros(len(labels), dtype=bool)
    for label in range(labels.max() + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        n_query, n_train = len(members) // 60, len(members) // 12  # 100 and 500 of 6,000
        split[members[:n_query]] = "query"
        train[members[n_query : n_query + n_train]] = True
    if protocol == "54k":
        split[train] = "train"
    return split, train


def _make(files, folder, progress):
    """Pixels as one npy file (n, 32, 32, 3), labels as JSON."""
    known = require("torchvision.datasets").CIFAR10
    check = require("torchvision.datasets.utils").check_integrity
    pixels, labels, counts = [], [], []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(files[SET.downloads[0].name], place, progress=progress)
        for names in (known.train_list, known.test_list):
            counts.append(0)
            for name, md5 in names:
                path = f"{place}/{known.base_folder}/{name}"
                if not check(path, md5):
                    raise ValueError(f"{name} is missing or has another checksum")
                batch = read_cifar_batch(path)
                pixels.append(batch["data"])
                labels += batch["labels"]
                counts[-1] += len(batch["labels"])
        meta = read_cifar_batch(f"{place}/{known.base_folder}/{known.meta['filename']}")
    stacked = np.concatenate(pixels).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (n, h, w, 3)
    expect(len(stacked), SET.n_images, "images")
    expect(len(labels), SET.n_images, "labels")
    np.save(folder / "pixels.npy", np.ascontiguousarray(stacked))
    classes = [name.decode("ascii") for name in meta[known.meta["key"]]]
    if not all(isinstance(label, int) and 0 <= label < len(classes) for label in labels):
        raise ValueError("labels are not the numbers of classes")
    text = json.dumps({"n_train": counts[0], "classes": classes, "labels": labels})
    (folder / "labels.json").write_text(text, "utf-8")
