"""Widgets to look at retrieval with, loaded when they are first used; the parts that they are made of lie in `widgets`.

What the command line shares with them (`collection_views`) can be imported where no widgets are installed.
"""

import importlib
import re

from cbirkit._optional import require

_EXPLORERS = ["AttackLab", "CollectionExplorer", "EmbeddingMap", "MetricLab", "ObjectExplorer"]
_EXPLORERS += ["FeedbackExplorer", "LabelExplorer", "LayoutExplorer", "QueryExplorer"]
_EXPLORERS += ["SketchExplorer", "WhyExplorer"]
_MAPS = ("MapQuality", "map_quality", "project")
# public name: the module it lives in, seen from here; an explorer's is called as it is
_HOMES = {name: re.sub("(?=[A-Z])", "_", name).lower() for name in _EXPLORERS}
_HOMES = {name: f".{home[1:]}" for name, home in _HOMES.items()} | {"Query": ".queries"}
_HOMES |= dict.fromkeys(_MAPS, "..learning.projection")
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"{__name__} has no {name!r}; it has {', '.join(_HOMES)}")
    require("ipywidgets")
    require("anywidget")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__():
    return __all__
