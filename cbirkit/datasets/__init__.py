"""Images to work with: sets that need no download (`load_*`), the reader's own folder, and standard benchmarks (`fetch_*`)."""

from cbirkit.images import ImageCollection

from .digits import load_digits
from .fetch import Benchmark, DownloadFailed, fetchable
from .fetch.instances import fetch_holidays, fetch_revisited, fetch_ukbench
from .fetch.labelled import (
    fetch_caltech101,
    fetch_clothing,
    fetch_eurosat,
    fetch_flowers,
    fetch_flowers102,
    fetch_oxford_pets,
    fetch_ucmerced,
)
from .fetch.metric_learning import fetch_cub200, fetch_sop
from .fetch.pixel_arrays import fetch_cifar10, fetch_stl10
from .photo_views import homography_between, load_photo_views, reference_views
from .photographs import photo_credits
from .real_features import RealFeatures, load_real, shipped_file
from .tabletop import close_ups, load_tabletop, scene_relevance, zoomed

__all__ = [
    "Benchmark", "DownloadFailed", "RealFeatures", "close_ups", "fetch_caltech101", "fetch_cifar10",
    "fetch_clothing", "fetch_cub200", "fetch_eurosat", "fetch_flowers", "fetch_flowers102",
    "fetch_holidays", "fetch_oxford_pets", "fetch_revisited", "fetch_sop", "fetch_stl10",
    "fetch_ucmerced", "fetch_ukbench", "fetchable", "from_folder", "homography_between",
    "load_digits", "load_photo_views", "load_real", "load_tabletop", "photo_credits",
    "reference_views", "scene_relevance", "shipped_file", "zoomed",
]  # fmt: skip


def from_folder(folder, *, labels="folder"):
    """All images below a folder: `ImageCollection.from_folder` by another name.

    Parameters
    ----------
    folder : str or path
    labels : "folder", a CSV file or None
        "folder": the first sub-folder that tells images apart is the label of an image. A CSV file that names images, such as
        "labels.csv": its column ``label``, ``class`` … or that of "labels.csv:species".

    Returns
    -------
    ImageCollection
        Files are listed, not decoded.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, ValueError
        No such folder; a file; no image in it.
    """
    return ImageCollection.from_folder(folder, labels=labels)
