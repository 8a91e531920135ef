"""Sets whose images have a label: photographs of clothes, flowers, pets and things, and land seen from the air."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from cbirkit._optional import require
from cbirkit.images import ImageCollection

from .registry import expect, make, prepare, register
from .unpack import unpack

_CREDIT = re.compile(r"(\S+\.jpg) CC-BY by (.*) - (https?://\S+)")


def shuffled_classes(labels, random_state):
    """Positions of each class, sorted by label, in random order: list of ndarray."""
    labels, rng = np.array(labels), check_random_state(random_state)
    return [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _class_folders(folder, random_state=0):
    """Image files below a folder, sorted, and a table: their labels are the names of their folders.

    A fifth of each class, drawn at random, are queries, the rest the database: where no split is official.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".tif"))
    paths = [path for path in paths if path.parent.name != "BACKGROUND_Google"]  # of Caltech-101
    table = pd.DataFrame({"label": [path.parent.name for path in paths], "split": "database"})
    for members in shuffled_classes(table["label"], random_state):
        table.loc[members[: round(len(members) / 5)], "split"] = "query"
    return paths, table


@register("clothing")
def fetch_clothing(*, root=None, download=True, progress=True):
    """Photographs of clothes that people took of what they own: 3,781 of ten classes, free for any purpose (CC0).

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
        Ids ``"train/dress/….jpg"`` … Columns ``label`` and ``split``: "database" (3,068, the authors' training part),
        "validation" (341) and "query" (372, their test part).

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to put it.

    References
    ----------
    Grigorev (2020), Clothing dataset, the repository named in ``data/README.md``.
    """
    ready = prepare("clothing", root=root, download=download, progress=progress)
    paths, table = _class_folders(ready)
    parts = {"train": "database", "test": "query"}
    table["split"] = [parts.get(name := path.parent.parent.name, name) for path in paths]
    return ImageCollection.from_files(paths, table, root=ready, name="clothing")


@register("flowers")
def fetch_flowers(*, root=None, download=True, progress=True, random_state=0):
    """Photographs of daisies, dandelions, roses, sunflowers and tulips: 3,670, each with its author (CC BY 2.0).

    Parameters
    ----------
    root : path-like, optional
    download : bool, default=True
    progress : bool, default=True
        As for `fetch_clothing`.
    random_state : int or RandomState, default=0
        Draws the fifth of each class that is the queries.

    Returns
    -------
    ImageCollection
        Ids ``"daisy/….jpg"`` … Columns ``label``, ``split`` ("database", "query"), ``author`` and ``page``: whom to name.

    Raises
    ------
    DownloadFailed
        As for `fetch_clothing`.

    References
    ----------
    The TensorFlow Team (2019), Flowers, the page named in ``data/README.md``.
    """
    ready = prepare("flowers", root=root, download=download, progress=progress)
    paths, table = _class_folders(ready, random_state)
    licence = ready / "LICENSE.txt"
    text = licence.read_text("utf-8", errors="replace") if licence.exists() else ""
    known = {file: credit for file, *credit in _CREDIT.findall(text)}
    credits = [known.get(path.relative_to(ready).as_posix(), (None, None)) for path in paths]
    table[["author", "page"]] = np.array(credits, dtype=object)
    return ImageCollection.from_files(paths, table, root=ready, name="flowers")


@register("ucmerced")
def fetch_ucmerced(*, root=None, download=True, progress=True, random_state=0):
    """Land use seen from the air: 2,100 images of 256 × 256 pixels, 100 of each of 21 classes (public domain imagery of the USGS).

    Parameters
    ----------
    root : path-like, optional
    download : bool, default=True
    progress : bool, default=True
        As for `fetch_clothing`.
    random_state : int or RandomState, default=0
        Draws the fifth of each class that is the queries, as is usual.

    Returns
    -------
    ImageCollection
        Ids ``"agricultural/agricultural00.tif"`` … Columns ``label`` and ``split`` ("database", "query").

    Raises
    ------
    DownloadFailed
        As for `fetch_clothing`.

    References
    ----------
    Yang and Newsam (2010), Bag-of-visual-words and spatial extensions for land-use classification, ACM SIGSPATIAL,
    doi:10.1145/1869790.1869829.
    """
    ready = prepare("ucmerced", root=root, download=download, progress=progress)
    paths, table = _class_folders(ready, random_state)
    return ImageCollection.from_files(paths, table, root=ready, name="ucmerced")


def _make_pets(data_set, files, folder, progress):
    data_set.unpack(files, folder, progress)
    inside = folder / data_set.into
    listed = [inside / "images" / f"{name}.jpg" for name in _pet_lists(inside)["name"]]
    expect(sum(path.is_file() for path in listed), data_set.n_images, "images")


def _pet_lists(folder):
    """Name, number of breed and of species, and official part, "trainval" or "test", of each image."""
    options = {"sep": " ", "names": ["name", "breed", "species", "number"]}
    files = {part: folder / "annotations" / f"{part}.txt" for part in ("trainval", "test")}
    parts = {part: pd.read_csv(file, **options) for part, file in files.items()}
    return pd.concat(parts, names=["official", None]).reset_index("official")


@register("oxford_pets")
def fetch_oxford_pets(*, root=None, download=True, progress=True):
    """Oxford-IIIT Pet: about 7,300 photographs of 37 breeds of cats and dogs, with outlines.

    Address and checksums are torchvision's (`torchvision.datasets.OxfordIIITPet`).

    No retrieval split is standard. Here the official test part (3,669 images) is the queries and the official
    trainval part (3,680) the database, which is how nearest-neighbour classification is scored on it; what
    learns from the labels of trainval has seen the database, and should say so.

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
        Ids ``"Abyssinian_1.jpg"`` … Columns ``label`` (breed), ``species`` ("Cat" or "Dog"), ``official``
        ("trainval", "test"), ``split`` ("database", "query") and ``mask`` (file of the outline: 1 pet, 2
        background, 3 border).

    Raises
    ------
    DownloadFailed
        The host is gone or a file is another one; the message says what to download by hand and where to put
        it.

    References
    ----------
    Parkhi, Vedaldi, Zisserman and Jawahar (2012), Cats and Dogs, CVPR.
    """
    ready = prepare("oxford_pets", _make_pets, root=root, download=download, progress=progress)
    folder = ready / "oxford-iiit-pet"
    table = _pet_lists(folder).reset_index(drop=True)
    names = table["name"]
    columns = {
        "label": names.str.rsplit("_", n=1).str[0].str.replace("_", " ").str.title(),
        "species": np.where(table["species"] == 1, "Cat", "Dog"),
        "official": table["official"],
        "split": np.where(table["official"] == "test", "query", "database"),
        "mask": [str(folder / "annotations" / "trimaps" / f"{name}.png") for name in names],
    }
    paths = [folder / "images" / f"{name}.jpg" for name in names]
    return ImageCollection.from_files(
        paths, pd.DataFrame(columns), root=folder / "images", name="oxford_pets"
    )


@register("flowers102")
def fetch_flowers102(*, root=None, download=True, progress=True):
    """Oxford 102 Flowers: 8,189 photographs of 102 species, 40 to 258 of each.

    Address, checksums and reading are torchvision's (`torchvision.datasets.Flowers102`).

    No retrieval split is standard. Here the official test part (6,149 images) is the queries, and the
    official train and val parts (1,020 each, 10 of every species) are the database, which is how
    nearest-neighbour classification is scored on it. To keep what is learnt from apart, learn from ``official
    == "train"`` and use ``official == "val"`` alone as the database.

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
        Ids ``"image_00001.jpg"`` … Columns ``label`` (species), ``official`` ("train", "val", "test"),
        ``split`` ("database", "query").

    Raises
    ------
    DownloadFailed
        The host is gone or a file is another one; the message says what to download by hand and where to put
        it.

    References
    ----------
    Nilsback and Zisserman (2008), Automated Flower Classification over a Large Number of Classes, ICVGIP.
    """
    ready = prepare("flowers102", root=root, download=download, progress=progress)
    reader = require("torchvision.datasets").Flowers102
    paths, frames = [], []
    for official, split in (("train", "database"), ("val", "database"), ("test", "query")):
        part = reader(ready, split=official)
        paths += part._image_files
        labels = [part.classes[code] for code in part._labels]
        frames.append(pd.DataFrame({"label": labels, "official": official, "split": split}))
    table = pd.concat(frames, ignore_index=True)
    folder = ready / "flowers-102" / "jpg"
    return ImageCollection.from_files(paths, table, root=folder, name="flowers102")


def _make_caltech(data_set, files, folder, progress):
    """The zip file holds a tar file with the images and another one with outlines."""

    def archive_only(name):
        wanted = r"(?!__MACOSX/)(?:.*/)?(101_ObjectCategories\.tar\.gz)"
        return match[1] if (match := re.fullmatch(wanted, name)) else None

    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(*files.values(), place, place=archive_only, progress=progress)
        make(data_set, {"": Path(place) / "101_ObjectCategories.tar.gz"}, folder, progress)


@register("caltech101")
def fetch_caltech101(*, root=None, download=True, progress=True, random_state=0):
    """Caltech-101: photographs of objects of 101 categories, 31 to 800 of each.

    Address and checksum are torchvision's (`torchvision.datasets.Caltech101`). The background category is left out, as there.

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
    ready = prepare("caltech101", _make_caltech, root=root, download=download, progress=progress)
    folder = ready / "caltech101" / "101_ObjectCategories"
    paths, table = _class_folders(folder)
    table["split"] = "unused"
    for members in shuffled_classes(table["label"], random_state):
        table.loc[members[:30], "split"] = "database"
        table.loc[members[30:50], "split"] = "query"
    return ImageCollection.from_files(paths, table, root=folder, name="caltech101")


@register("eurosat")
def fetch_eurosat(*, root=None, download=True, progress=True, random_state=0):
    """EuroSAT: 27,000 satellite images of 64 × 64 pixels (Sentinel-2, red, green, blue) in ten classes of
    land use.

    Address and checksum are torchvision's (`torchvision.datasets.EuroSAT`).

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
    ready = prepare("eurosat", root=root, download=download, progress=progress)
    folder = ready / "eurosat" / "2750"
    paths, table = _class_folders(folder, random_state)
    return ImageCollection.from_files(paths, table, root=folder, name="eurosat")
