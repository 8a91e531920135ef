"""cbirkit: analyse and teach content-based image retrieval.

The names of the first-code contract are loaded when they are first used, so that ``import cbirkit`` stays light.
"""

import importlib

__version__ = "0.1.0"

_LAZY = {  # public name: where it lives (None: it is a submodule)
    "ImageCollection": "images",
    "Ranking": "ranking",
    "Relevance": "ranking",
    "Retriever": "retrieval",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "checks": None,
    "datasets": None,
    "encoders": None,
    "evaluation": None,
    "explore": None,
    "images": None,
    "indexes": None,
    "learning": None,
    "metrics": None,
    "objects": None,
    "persistence": None,
    "plots": None,
    "ranking": None,
    "rerank": None,
    "retrieval": None,
    "store": None,
}

__all__ = list(_LAZY) + ["__version__"]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(
            f"module 'cbirkit' has no attribute {name!r}; it has {', '.join(sorted(_LAZY))}"
        )
    home = _LAZY[name]
    module = importlib.import_module(f"cbirkit.{home or name}")
    value = module if home is None else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
