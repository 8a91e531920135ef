"""A procedural world with known truth: `load_scenes`, and what its sets need besides."""

from .classes import FAMILIES, SceneClass, scene_classes
from .load import load_scenes
from .protocols import class_relevance, object_relevance, relation_relevance
from .renderer import full_masks
from .views import KINDS, LEVELS, RELATIONS

__all__ = [
    "FAMILIES",
    "KINDS",
    "LEVELS",
    "RELATIONS",
    "SceneClass",
    "class_relevance",
    "full_masks",
    "load_scenes",
    "object_relevance",
    "relation_relevance",
    "scene_classes",
]
