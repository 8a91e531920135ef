"""The photographs that installed packages carry and whose free licence is stated: where they are, who made them.

Nothing is downloaded: a file that the installed package lacks is an error, never a reason to go online.
`data/README.md` gives the same list as a table.
"""

import hashlib
import importlib.util
import logging
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from .._optional import require
from ..images import read_image

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photograph:
    """One photograph inside an installed package.

    Parameters
    ----------
    name : str
        The value of the column ``source``.
    file : str
        Package and path inside it, such as ``"skimage/data/coffee.png"``.
    cell : int
        Side, in pixels of the photograph, of the squares that regions are cut into.
    most : int
        At most so many objects; fewer where the whole photograph is one texture that looks alike everywhere.
    licence, credit, address : str
        As stated by the package's docstring or README.
    sha256 : str
        Of the file that the figures in the documentation were measured with.
    """

    name: str
    file: str
    cell: int
    most: int
    licence: str
    credit: str
    address: str
    sha256: str


_CC0, _PUBLIC, _NKR, _BY = "CC0", "public domain", "no known copyright restrictions", "CC BY 2.0"
_FLICKR = "https://www.flickr.com/photos/"

PHOTOGRAPHS = (
    Photograph(
        "astronaut",
        "skimage/data/astronaut.png",
        126,
        14,
        _PUBLIC,
        "NASA (Eileen Collins)",
        "https://flic.kr/p/r9qvLn",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    Photograph(
        "brick",
        "skimage/data/brick.png",
        126,
        5,
        _CC0,
        "CC0Textures (Bricks25)",
        "https://cc0textures.com/view.php?tex=Bricks25",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    ),
    Photograph(
        "camera",
        "skimage/data/camera.png",
        126,
        10,
        _CC0,
        "Lav Varshney",
        "https://github.com/scikit-image/scikit-image/issues/3927",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    ),
    Photograph(
        "chelsea",
        "skimage/data/chelsea.png",
        110,
        8,
        _CC0,
        "Stefan van der Walt",
        "https://scikit-image.org/docs/stable/api/skimage.data.html",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
    Photograph(
        "china",
        "sklearn/datasets/images/china.jpg",
        126,
        15,
        _BY,
        "danielbuechele on Flickr",
        _FLICKR + "danielbuechele/6061409035/",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    ),
    Photograph(
        "coffee",
        "skimage/data/coffee.png",
        130,
        12,
        _CC0,
        "Rachel Michetti, courtesy of Pikolo Espresso Bar",
        "https://scikit-image.org/docs/stable/api/skimage.data.html",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    Photograph(
        "coins",
        "skimage/data/coins.png",
        95,
        10,
        _NKR,
        "Brooklyn Museum (Greek coins from Pompeii)",
        "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    ),
    Photograph(
        "flower",
        "sklearn/datasets/images/flower.jpg",
        126,
        12,
        _BY,
        "vultilion on Flickr",
        _FLICKR + "vultilion/6056698931/",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
    Photograph(
        "grass",
        "skimage/data/grass.png",
        126,
        5,
        _CC0,
        "linolafett on DeviantArt",
        "https://www.deviantart.com/linolafett/art/Grass-01-434853879",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    ),
    Photograph(
        "gravel",
        "skimage/data/gravel.png",
        126,
        5,
        _CC0,
        "CC0Textures (Gravel04)",
        "https://cc0textures.com/view.php?tex=Gravel04",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    ),
    Photograph(
        "hubble",
        "skimage/data/hubble_deep_field.jpg",
        170,
        12,
        _PUBLIC,
        "NASA, HubbleSite",
        "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    Photograph(
        "ihc",
        "skimage/data/ihc.png",
        126,
        10,
        _NKR,
        "Center for Microscopy and Molecular Imaging (CMMI)",
        "https://scikit-image.org/docs/stable/api/skimage.data.html",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    ),
    Photograph(
        "retina",
        "skimage/data/retina.jpg",
        230,
        12,
        _CC0,
        "Mikael Häggström, doi:10.15347/wjm/2014.008",
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    ),
    Photograph(
        "rocket",
        "skimage/data/rocket.jpg",
        126,
        6,
        _PUBLIC,
        "SpaceX",
        _FLICKR + "spacexphotos/16511594820/",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
    Photograph(
        "text",
        "skimage/data/text.png",
        85,
        8,
        _PUBLIC,
        "Wikipedia, File:Corner.png",
        "https://en.wikipedia.org/wiki/File:Corner.png",
        "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
    ),
)


def photograph_path(photograph):
    """Path of the file inside the installed package; FileNotFoundError says which package lacks it."""
    package, _, inside = photograph.file.partition("/")
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / inside
        if path.is_file():
            return path
    install = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    raise FileNotFoundError(
        f"{photograph.file} is not in the installed package ({install}); "
        f"install the version with which it ships: pip install --force-reinstall {install}"
    )


@lru_cache(maxsize=64)
def file_digest(name):
    """First 12 hex digits of the SHA-256 of the photograph's file; a warning is logged where it is not the known one."""
    photograph = _BY_NAME[name]
    digest = hashlib.sha256(photograph_path(photograph).read_bytes()).hexdigest()
    if digest != photograph.sha256:
        log.warning(
            "%s differs from the file that published figures were measured with", photograph.file
        )
    return digest[:12]


@lru_cache(maxsize=128)
def read_photograph(name, halvings=0):
    """The photograph, decoded once per process, halved `halvings` times by box averaging.

    Parameters
    ----------
    name : str
        Name of a photograph in `PHOTOGRAPHS`.
    halvings : int, default=0
        0 is full size, 1 half of each side, and so on.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB, read-only because it is shared.
    """
    if halvings:
        larger = read_photograph(name, halvings - 1)
        height, width = larger.shape[:2]
        even = np.ascontiguousarray(larger[: height // 2 * 2, : width // 2 * 2])
        cv2 = require("cv2")
        image = cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    else:
        image = np.ascontiguousarray(read_image(photograph_path(_BY_NAME[name])))
    image.setflags(write=False)
    return image


_BY_NAME = {photograph.name: photograph for photograph in PHOTOGRAPHS}


def photo_credits():
    """Who made the photographs, and under which licence the packages say they may be used.

    Returns
    -------
    DataFrame indexed by source
        Columns ``file`` (package and path inside it), ``licence``, ``credit``, ``address``, ``sha256``.

    Examples
    --------
    >>> photo_credits().loc["flower", "licence"]
    'CC BY 2.0'
    """
    columns = ["file", "licence", "credit", "address", "sha256"]
    table = pd.DataFrame([asdict(photograph) for photograph in PHOTOGRAPHS])
    return table.set_index(pd.Index(table["name"], name="source"))[columns]
