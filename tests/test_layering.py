"""Imports go down the layers of the design, never up; `import cbirkit` stays light."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "cbirkit"
LAYERS = [  # bottom first; modules of one layer may import one another
    [
        "_optional",
        "_atomic",
        "_manifest",
        "_progress",
        "images",
        "ranking",
        "metrics",
        "persistence",
    ],
    ["nets"],
    ["datasets", "encoders", "indexes", "rerank", "store"],
    ["learning", "evaluation", "retrieval"],
    ["attacks", "explain", "feedback", "objects", "compress"],
    ["plots"],
    ["explore", "checks"],
    ["doctor", "cli", "__main__"],
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
HEAVY = ["torch", "cv2", "faiss", "umap", "ipywidgets", "anywidget", "annoy", "torchvision"]


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Names of the cbirkit modules that a file imports, wherever the statement stands."""
    package = ["cbirkit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(base + ([node.module] if node.module else []))
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "cbirkit" and len(parts) > 1:
                yield parts[1]


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_no_upward_import(path):
    own = module_of(path)
    assert own in LEVEL, f"{own} has no layer: add it to LAYERS in this test and to the design"
    for other in imports_of(path):
        if other in LEVEL:
            assert LEVEL[other] <= LEVEL[own], (
                f"{path.name} (layer of {own}) imports {other}, which lies above it"
            )


def test_the_reader_of_imports_sees_every_form(tmp_path):
    lines = "from . import plots\nfrom .. import cli\nfrom ..explore import x\nimport cbirkit.store\nfrom cbirkit import checks\n"
    path = PACKAGE / "encoders" / "made_up.py"

    class Made(type(path)):
        def read_text(self):
            return lines

    assert set(imports_of(Made(path))) == {"encoders", "cli", "explore", "store", "checks"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_packages_are_never_imported_at_module_level(path):
    allowed = {"explore": {"ipywidgets", "anywidget"}, "nets": {"torch"}}.get(
        module_of(path), set()
    )
    for node in ast.parse(path.read_text()).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            assert top not in HEAVY or top in allowed, (
                f"{path.name} imports {top} at module level; use _optional.require"
            )


def test_nobody_imports_the_networks_at_module_level():
    """`cbirkit.nets` loads torch; everything else imports it inside functions."""
    for path in FILES:
        if module_of(path) != "nets":
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ImportFrom):
                    named = (
                        {node.module or "", *(alias.name for alias in node.names)}
                        if node.level
                        else {node.module}
                    )
                    assert not any(name.split(".")[0] == "nets" for name in named), (
                        f"{path.name} imports cbirkit.nets at module level"
                    )


def test_only_explore_knows_widgets():
    for path in FILES:
        if module_of(path) != "explore":
            assert (
                "import ipywidgets" not in path.read_text()
                and "import anywidget" not in path.read_text()
            )


def test_import_is_light():
    """Nothing heavy, and hardly anything else: 1 to 5 ms were measured."""
    code = (
        "import sys; before = set(sys.modules); import cbirkit; more = set(sys.modules) - before; "
        f"print(len(more), [m for m in {HEAVY} if m in more])"
    )
    n_modules, loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split(maxsplit=1)
    assert loaded.strip() == "[]" and int(n_modules) < 10
