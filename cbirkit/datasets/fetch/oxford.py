"""Two fine-grained sets of Oxford's Visual Geometry Group: breeds of pets and species of flowers."""

import pandas as pd

from ..._optional import require
from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all

_VGG = "https://www.robots.ox.ac.uk/~vgg/data/"

PETS = DataSet(
    name="oxford_pets",
    title="Oxford-IIIT Pet",
    n_images=7349,
    downloads=(
        Download(
            "images.tar.gz",
            (f"{_VGG}pets/data/images.tar.gz",),
            792,
            "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
        ),
        Download(
            "annotations.tar.gz",
            (f"{_VGG}pets/data/annotations.tar.gz",),
            19,
            "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
        ),
    ),
    unpacked_megabytes=860,
    page=f"{_VGG}pets/",
    terms="CC BY-SA 4.0",
)
FLOWERS = DataSet(
    name="flowers102",
    title="Oxford 102 Flowers",
    n_images=8189,
    downloads=(
        Download(
            "102flowers.tgz",
            (f"{_VGG}flowers/102/102flowers.tgz",),
            345,
            "md5:52808999861908f626f3c1f4e79d11fa",
        ),
        Download(
            "imagelabels.mat",
            (f"{_VGG}flowers/102/imagelabels.mat",),
            0.01,
            "md5:e0620be6f572b9609742df49c70aed4d",
        ),
        Download(
            "setid.mat",
            (f"{_VGG}flowers/102/setid.mat",),
            0.02,
            "md5:a5357ecc9cb78c4bef273ce3793fc85c",
        ),
    ),
    unpacked_megabytes=350,
    page=f"{_VGG}flowers/102/",
    terms="no licence stated; photographs belong to their authors; cite Nilsback and Zisserman (2008)",
)


def fetch_oxford_pets(*, root=None, download=True, progress=True):
    """Oxford-IIIT Pet: about 7,300 photographs of 37 breeds of cats and dogs, with outlines.

    Address, checksums and reading are torchvision's (`torchvision.datasets.OxfordIIITPet`).

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
    ready = prepare(PETS, _make_pets, root=root, download=download, progress=progress)
    reader = require("torchvision.datasets").OxfordIIITPet
    paths, frames = [], []
    for official, split in (("trainval", "database"), ("test", "query")):
        part = reader(ready, split=official, target_types="category")
        paths += part._images
        table = {
            "label": [part.classes[code] for code in part._labels],
            "species": [part.bin_classes[code] for code in part._bin_labels],
            "official": official,
            "split": split,
            "mask": [str(path) for path in part._segs],
        }
        frames.append(pd.DataFrame(table))
    folder = ready / "oxford-iiit-pet" / "images"
    return ImageCollection.from_files(
        paths, pd.concat(frames, ignore_index=True), root=folder, name=PETS.name
    )


def _make_pets(files, folder, progress):
    def place(name):  # the archives hold litter of the computer they were made on: ._NAME
        return None if name.rsplit("/", 1)[-1].startswith(".") else f"oxford-iiit-pet/{name}"

    unpack_all(files, folder, progress, place)
    lists = [
        folder / "oxford-iiit-pet" / "annotations" / f"{part}.txt" for part in ("trainval", "test")
    ]
    names = [line.split()[0] for path in lists for line in path.read_text("utf-8").splitlines()]
    found = sum((folder / "oxford-iiit-pet" / "images" / f"{name}.jpg").is_file() for name in names)
    expect(found, PETS.n_images, "images")


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
    ready = prepare(FLOWERS, _make_flowers, root=root, download=download, progress=progress)
    reader = require("torchvision.datasets").Flowers102
    paths, frames = [], []
    for official, split in (("train", "database"), ("val", "database"), ("test", "query")):
        part = reader(ready, split=official)
        paths += part._image_files
        labels = [part.classes[code] for code in part._labels]
        frames.append(pd.DataFrame({"label": labels, "official": official, "split": split}))
    folder = ready / "flowers-102" / "jpg"
    return ImageCollection.from_files(
        paths, pd.concat(frames, ignore_index=True), root=folder, name=FLOWERS.name
    )


def _make_flowers(files, folder, progress):
    for name, path in files.items():
        if name.endswith(".mat"):
            place = folder / "flowers-102" / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(path.read_bytes())
        else:
            unpack_all({name: path}, folder, progress, lambda member: f"flowers-102/{member}")
    expect(
        len(list((folder / "flowers-102" / "jpg").glob("image_*.jpg"))), FLOWERS.n_images, "images"
    )
