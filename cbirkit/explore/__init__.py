"""Widgets to look at retrieval with: a query explorer, and the parts that explorers are made of."""

from .._optional import require

require("ipywidgets")
require("anywidget")

from .attack_lab import AttackLab
from .choice_row import ChoiceRow
from .collection_explorer import CollectionExplorer
from .cropper import Cropper
from .embedding_map import EmbeddingMap
from .metric_lab import MetricLab
from .object_explorer import ObjectExplorer
from .picker import ImagePicker
from .projection import MapQuality, map_quality, project
from .queries import Query
from .query_explorer import QueryExplorer
from .status_line import StatusLine
from .text_table import TextTable
from .thumbnails import ThumbnailCache
from .tile_grid import Tile, TileGrid

__all__ = [
    "AttackLab",
    "ChoiceRow",
    "CollectionExplorer",
    "Cropper",
    "EmbeddingMap",
    "ImagePicker",
    "MapQuality",
    "MetricLab",
    "ObjectExplorer",
    "Query",
    "QueryExplorer",
    "StatusLine",
    "TextTable",
    "ThumbnailCache",
    "Tile",
    "TileGrid",
    "map_quality",
    "project",
]
