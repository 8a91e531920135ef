"""Standard benchmarks: downloaded once, verified, unpacked safely, and given with their standard split and
protocol.

All take ``root=`` (where data sets are kept; default the environment variable ``CBIRKIT_DATA``, else
``~/.cache/cbirkit``), ``download=`` and ``progress=``. Each gives an `ImageCollection` or, where queries and
database are more than a column of one table, a `Benchmark`; both have ``split()`` and ``relevance()``.
`fetchable` lists them; ``cbirkit prefetch NAME`` gets them before a class.
"""

from . import instances, labelled, metric_learning, pixel_arrays  # noqa: F401  they register
from .benchmark import Benchmark
from .disk import data_root, free_bytes
from .download import DownloadFailed
from .registry import fetch_by_name, fetchable

__all__ = [
    "Benchmark", "DownloadFailed", "data_root", "fetch_by_name", "fetchable", "free_bytes",
]  # fmt: skip
