"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib

import numpy as np
import pytest
from conftest import ROOT

MODULES = [
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for p in sorted((ROOT / "cbirkit").rglob("*.py"))
    if p.name != "__main__.py"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    module = importlib.import_module(name)
    globs = {"np": np, **vars(module)}
    result = doctest.testmod(module, extraglobs=globs, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_public_names_have_docstrings():
    import cbirkit

    for name in cbirkit.__all__:
        if name.startswith("__"):
            continue
        value = getattr(cbirkit, name)
        assert (value.__doc__ or "").strip(), f"cbirkit.{name} has no docstring"
