"""A procedural world with known truth: `load_scenes`, and what its sets need besides."""

from .load import class_relevance, load_scenes, object_relevance
from .render import full_masks
from .shapes import FAMILIES, SceneClass, scene_classes
from .views import KINDS, LEVELS

__all__ = [
    "FAMILIES",
    "KINDS",
    "LEVELS",
    "SceneClass",
    "class_relevance",
    "full_masks",
    "load_scenes",
    "object_relevance",
    "scene_classes",
]
