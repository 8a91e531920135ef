"""Sets for metric learning, split by class: CUB-200-2011 (birds) and Stanford Online Products."""

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection

from .registry import prepare, register

_CUB_TABLES = {  # file: columns beside the number of the image
    "images.txt": ["name"],
    "image_class_labels.txt": ["class_number"],
    "train_test_split.txt": ["official"],
    "bounding_boxes.txt": ["x", "y", "width", "height"],
    "classes.txt": ["label"],
}
_SOP_LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}


@register("cub200")
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
    ready = prepare("cub200", root=root, download=download, progress=progress)
    tables = {
        name: pd.read_csv(ready / name, sep=" ", names=["number", *columns], index_col="number")
        for name, columns in _CUB_TABLES.items()
    }
    classes = tables.pop("classes.txt")["label"]
    table = pd.concat(tables.values(), axis=1)
    table = table.assign(
        label=classes.loc[table["class_number"]].to_numpy(),
        split=np.where(table["class_number"] <= len(classes) // 2, "train", "test"),
        official=np.where(table["official"] == 1, "train", "test"),
    )
    paths = [ready / "images" / name for name in table.pop("name")]
    table = table.reset_index(drop=True)
    return ImageCollection.from_files(paths, table, root=ready / "images", name="cub200")


@register("sop")
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
    ready = prepare("sop", root=root, download=download, progress=progress)
    parts = {split: pd.read_csv(ready / name, sep=" ") for split, name in _SOP_LISTS.items()}
    table = pd.concat(parts, names=["split", None]).reset_index("split").reset_index(drop=True)
    columns = {
        "instance": table["class_id"],
        "label": table["path"].str.replace(r"_final/.*", "", regex=True),
        "split": table["split"],
    }
    paths = [ready / name for name in table["path"]]
    return ImageCollection.from_files(paths, pd.DataFrame(columns), root=ready, name="sop")
