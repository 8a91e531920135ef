"""cbirkit: analyse and teach content-based image retrieval.

The names of the first-code contract are loaded when they are first used, so that ``import cbirkit`` stays light.
"""

import importlib

__version__ = "0.1.0"

_MODULES = ["checks", "datasets", "encoders", "evaluation", "explore", "images", "indexes"]
_MODULES += ["learning", "metrics", "objects", "persistence", "plots", "ranking", "rerank"]
_MODULES += ["retrieval", "store", "text", "web", "workers"]
_HOMES = {  # public name: the module it lives in
    "ImageCollection": "images",
    **dict.fromkeys(("Ranking", "Relevance"), "ranking"),
    "Retriever": "retrieval",
    **dict.fromkeys(("compare", "evaluate"), "evaluation"),
}
__all__ = list(_MODULES) + list(_HOMES) + ["__version__"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module 'cbirkit' has no attribute {name!r}; see dir(cbirkit)")
    module = importlib.import_module(f"cbirkit.{_HOMES.get(name, name)}")
    globals()[name] = getattr(module, name) if name in _HOMES else module
    return globals()[name]


def __dir__():
    return sorted(__all__)
