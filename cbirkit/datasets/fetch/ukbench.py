"""UKBench: 2,550 objects, four photographs of each."""

import re

import numpy as np
import pandas as pd

from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all
from .stored_files import StoredFiles

SET = DataSet(
    name="ukbench",
    title="UKBench",
    n_images=10_200,
    downloads=(
        Download("ukbench.zip", ("https://archive.org/download/ukbench/ukbench.zip",), 1600),
    ),
    unpacked_megabytes=1600,
    page="https://archive.org/details/ukbench",
    terms="no licence stated; offered for research; cite Nistér and Stewénius (2006)",
)


def fetch_ukbench(*, root=None, download=True, progress=True):
    """UKBench: 10,200 photographs (640 × 480) of 2,550 objects, four of each.

    Protocol: every image is a query, all 10,200 are the database, the query itself stays in it, and the score
    is the mean number of the object's four images among the first four (0 to 4; `evaluate` calls it
    ``ukbench``)::

        images = fetch_ukbench()
        relevance = images.relevance(keep_self=True)

    The original host is gone; the file comes from the Internet Archive. No checksum is published: the SHA-256
    of the first file that arrives is recorded in ``checksums.json`` and later ones must match.

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
        Ids ``"ukbench00000.jpg"`` … Column ``instance`` (int, 0 to 2,549). Some files carry an EXIF
        orientation, which published figures ignore: pixels are given as stored.

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Nistér and Stewénius (2006), Scalable Recognition with a Vocabulary Tree, CVPR.
    """
    ready = prepare(SET, _make, root=root, download=download, progress=progress)
    paths = sorted(ready.glob("ukbench*.jpg"))
    index = pd.Index([path.name for path in paths], dtype=object)
    table = pd.DataFrame(
        {"instance": np.arange(len(paths)) // 4, "path": [str(path) for path in paths]}, index=index
    )
    return ImageCollection(StoredFiles(paths, ready), table, name="ukbench")


def _make(files, folder, progress):
    def place(name):  # thumbnails and pages are left out
        return (
            match[1] if (match := re.fullmatch(r"(?:.*/)?full/(ukbench\d{5}\.jpg)", name)) else None
        )

    unpack_all(files, folder, progress, place)
    wanted = [folder / f"ukbench{number:05d}.jpg" for number in range(SET.n_images)]
    expect(sum(path.is_file() for path in wanted), SET.n_images, "images")
