"""Standard benchmarks: downloaded once, verified, unpacked safely, and given with their standard split and
protocol.

All take ``root=`` (where data sets are kept; default the environment variable ``CBIRKIT_DATA``, else
``~/.cache/cbirkit``), ``download=`` and ``progress=``. Each gives an `ImageCollection` or, where queries and
database are more than a column of one table, a `Benchmark`; both have ``split()`` and ``relevance()``.
`fetchable` lists them; ``cbirkit prefetch NAME`` gets them before a class.
"""

from functools import partial

import pandas as pd

from . import (
    cifar10,
    class_folders,
    cub200,
    holidays,
    oxford,
    photos,
    revisited,
    sop,
    stl10,
    ukbench,
)
from .cifar10 import fetch_cifar10
from .class_folders import fetch_caltech101, fetch_eurosat
from .cub200 import fetch_cub200
from .disk import data_root
from .download import DownloadFailed
from .holidays import fetch_holidays
from .oxford import fetch_flowers102, fetch_oxford_pets
from .photos import fetch_clothing, fetch_flowers, fetch_ucmerced
from .preparing import folder_of, is_ready
from .result import Benchmark
from .revisited import fetch_revisited
from .sop import fetch_sop
from .stl10 import fetch_stl10
from .ukbench import fetch_ukbench

__all__ = [
    "Benchmark",
    "DownloadFailed",
    "data_root",
    "fetch_by_name",
    "fetch_caltech101",
    "fetch_cifar10",
    "fetch_clothing",
    "fetch_cub200",
    "fetch_eurosat",
    "fetch_flowers",
    "fetch_flowers102",
    "fetch_holidays",
    "fetch_oxford_pets",
    "fetch_revisited",
    "fetch_sop",
    "fetch_stl10",
    "fetch_ucmerced",
    "fetch_ukbench",
    "fetchable",
]


def _known():
    """Name: (what is to be known of it, the function that fetches it)."""
    pairs = [
        (photos.CLOTHING, fetch_clothing),
        (photos.FLOWERS, fetch_flowers),
        (photos.UCMERCED, fetch_ucmerced),
        (cifar10.SET, fetch_cifar10),
        (oxford.PETS, fetch_oxford_pets),
        (oxford.FLOWERS, fetch_flowers102),
        (class_folders.CALTECH, fetch_caltech101),
        (class_folders.EUROSAT, fetch_eurosat),
        (stl10.SET, fetch_stl10),
        (ukbench.SET, fetch_ukbench),
        (holidays.SET, fetch_holidays),
        (holidays.UPRIGHT, partial(fetch_holidays, upright=True)),
        *((data_set, partial(fetch_revisited, name)) for name, data_set in revisited.SETS.items()),
        (cub200.SET, fetch_cub200),
        (sop.SET, fetch_sop),
    ]
    return {data_set.name: (data_set, fetch) for data_set, fetch in pairs}


def fetch_by_name(name, **options):
    """Fetch a data set by its name in `fetchable`.

    Parameters
    ----------
    name : str
    **options
        ``root``, ``download``, ``progress``.

    Returns
    -------
    ImageCollection or Benchmark

    Raises
    ------
    ValueError
        No such data set.
    """
    known = _known()
    if name not in known:
        raise ValueError(f"no data set {name!r}; there are: {', '.join(known)}")
    return known[name][1](**options)


def fetchable(root=None):
    """The data sets that can be fetched, and which of them are here.

    Parameters
    ----------
    root : path-like, optional
        See `data_root`.

    Returns
    -------
    DataFrame indexed by name
        ``title``, ``n_images``, ``megabytes`` (about, to download), ``unpacked_megabytes`` (about, on the
        disk), ``here`` (bool), ``folder``, ``page``, ``terms``.

    Examples
    --------
    >>> int(fetchable().loc["cub200", "n_images"])
    11788
    """
    rows = {
        name: {
            "title": data_set.title,
            "n_images": data_set.n_images,
            "megabytes": data_set.megabytes,
            "unpacked_megabytes": data_set.unpacked_megabytes,
            "here": is_ready(data_set, root),
            "folder": str(folder_of(data_set, root)),
            "page": data_set.page,
            "terms": data_set.terms,
        }
        for name, (data_set, _) in _known().items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
