"""Widgets to look at retrieval with, loaded when they are first used; the parts that they are made of lie in `widgets`.

What the command line shares with them (`collection_views`) can be imported where no widgets are installed.
"""

import importlib

from cbirkit._optional import require

_HOMES = {  # public name: the module it lives in, seen from here
    "AttackLab": ".attack_lab",
    "CollectionExplorer": ".collection_explorer",
    "EmbeddingMap": ".embedding_map",
    "MapQuality": "..learning.projection",
    "MetricLab": ".metric_lab",
    "ObjectExplorer": ".object_explorer",
    "Query": ".queries",
    "QueryExplorer": ".query_explorer",
    "SketchExplorer": ".sketch_explorer",
    "WhyExplorer": ".why_explorer",
    "map_quality": "..learning.projection",
    "project": "..learning.projection",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(_HOMES)}")
    require("ipywidgets")
    require("anywidget")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__():
    return __all__
