"""Widgets to look at retrieval with; the parts that they are made of lie in `cbirkit.explore.widgets`."""

from cbirkit._optional import require

require("ipywidgets")
require("anywidget")

from .attack_lab import AttackLab
from .collection_explorer import CollectionExplorer
from .embedding_map import EmbeddingMap
from .metric_lab import MetricLab
from .object_explorer import ObjectExplorer
from .projection import MapQuality, map_quality, project
from .queries import Query
from .query_explorer import QueryExplorer

__all__ = [
    "AttackLab",
    "CollectionExplorer",
    "EmbeddingMap",
    "MapQuality",
    "MetricLab",
    "ObjectExplorer",
    "Query",
    "QueryExplorer",
    "map_quality",
    "project",
]
