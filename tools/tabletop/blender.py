"""Blender as a Python module; without it, one sentence that says how to get it."""

import sys

try:
    import bpy
    import mathutils
except ImportError as error:
    sys.exit(
        'Rendering needs Blender as a module: pip install "bpy==4.5.*" with Python 3.11, in an environment of its own '
        f"(got: {error})."
    )

__all__ = ["bpy", "mathutils"]
