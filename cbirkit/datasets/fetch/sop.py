"""Stanford Online Products: 22,634 products, half of them to learn from and half to test on."""

import re

import pandas as pd

from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all

SET = DataSet(
    name="sop",
    title="Stanford Online Products",
    n_images=120_053,
    downloads=(
        Download(
            "Stanford_Online_Products.zip",
            (
                "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
                "ftp://cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
                "https://drive.usercontent.google.com/download?id=1TclrpQOF_ullUP99wk_gjGN8pKvtErG8&export=download&authuser=0&confirm=t",
            ),
            3100,
            "md5:7f73d41a2f44250d4779881525aea32e",
        ),
    ),
    unpacked_megabytes=3200,
    page="https://cvgl.stanford.edu/projects/lifted_struct/",
    terms="no licence stated; product photographs from eBay, for research; cite Oh Song et al. (2016)",
)
_LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}


def fetch_sop(*, root=None, download=True, progress=True):
    """Stanford Online Products: 120,053 photographs of 22,634 products in 12 categories.

    Protocol (Oh Song et al. 2016): learn from 11,318 products (59,551 images), test on the other 11,316
    (60,502), where every image is a query against all others and the photographs of the same product are
    right; Recall@1, @10, @100, @1000 (here ``hit_rate@1`` …)::

        train, test = fetch_sop().split(parts=("train", "test"))
        relevance = test.relevance()

    The checksum is the one that open code has used for the archive for years; whether the copy on the
    authors' drive, tried last, is the same file is not known to us: if not, it is refused, and the message
    says so.

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
        Ids ``"bicycle_final/111085122871_0.JPG"`` … Columns ``instance`` (int: the product), ``label``
        (category) and ``split`` ("train", "test": by product).

    Raises
    ------
    DownloadFailed
        The hosts are gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Oh Song, Xiang, Jegelka and Savarese (2016), Deep Metric Learning via Lifted Structured Feature Embedding,
    CVPR, arXiv:1511.06452.
    """
    ready = prepare(SET, _make, root=root, download=download, progress=progress)
    table = _table(ready)
    paths = [ready / name for name in table.pop("name")]
    return ImageCollection.from_files(paths, table, root=ready, name="sop")


def _table(folder):
    parts = []
    for split, name in _LISTS.items():
        part = pd.read_csv(folder / name, sep=" ")  # image_id class_id super_class_id path
        label = part["path"].str.replace(r"_final/.*", "", regex=True)
        parts.append(
            pd.DataFrame(
                {"name": part["path"], "instance": part["class_id"], "label": label, "split": split}
            )
        )
    return pd.concat(parts, ignore_index=True)


def _make(files, folder, progress):
    def place(name):
        inside = re.sub(r"^Stanford_Online_Products/", "", name)
        wanted = inside in _LISTS.values() or re.fullmatch(
            r"[a-z_]+_final/[^/]+\.(jpg|JPG)", inside
        )
        return inside if wanted else None

    unpack_all(files, folder, progress, place)
    missing = [name for name in _LISTS.values() if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    table = _table(folder)
    if len(
        set(table["instance"][table["split"] == "train"])
        & set(table["instance"][table["split"] == "test"])
    ):
        raise ValueError("products are in both parts")
    expect(sum((folder / name).is_file() for name in table["name"]), SET.n_images, "images")
