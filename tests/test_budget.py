"""The package stays small: code lines and files of each part against the budget of the design, which holds for all 25 notebooks.

A code line holds code: docstrings, comments and blank lines do not count, nor do lines with nothing but brackets and commas, which is
how `ruff format` spreads a call. A line of a long text counts.
"""

import ast
import functools
import io
import tokenize

from conftest import ROOT

PACKAGE = ROOT / "cbirkit"
SILENT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
BUDGET = {  # part (folders and files of the package): code lines, files
    "images": (450, 5),
    "metrics ranking evaluation": (1300, 10),
    # without what is fetched; 152 of its 1,250 went to explore, for two explorers and maps side by side, 120 to scale
    "datasets": (888, 10),
    "datasets/fetch": (900, 11),
    "encoders": (934, 9),  # 16 of its 950 went to cli, for web and --workers
    "nets": (900, 10),
    "indexes": (580, 7),
    "persistence store .": (420, 4),
    "retrieval": (430, 3),
    "rerank": (340, 4),
    "learning": (1450, 12),
    "attacks": (400, 6),
    "objects": (680, 6),
    "explain feedback compress generate labelling text": (900, 6),
    "plots": (580, 6),
    "explore": (2602, 18),  # 2,450 and 152 of datasets
    "cli": (716, 6),
    "web": (90, 1),  # a part of its own, from what datasets does not use
    "scale": (340, 3),  # beyond one machine: from what datasets, nets and encoders do not use
    "checks": (4800, 28),
}
SUM = (15_000, 140)  # of all but the checks, which are course content
PAGES = 1300  # lines of JavaScript and CSS
SITE = 240  # those of the site that `cbirkit.web` writes
# Above its budget; may only shrink: whoever makes a part smaller writes the new number here.
TODAY = {
    "images": (739, 0),
    "persistence store .": (612, 6),
}
TODAY_PAGES = 1472
SCALE = {"indexes/pgvector.py", "indexes/lance.py", "workers.py"}


def code_lines(path):
    """Numbers of the lines that hold code."""
    text = path.read_text(encoding="utf-8")
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT and token.string not in {*"()[]{},:", ""}:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def part_of(path):
    """The part of the budget that a file belongs to."""
    place = path.relative_to(PACKAGE)
    if place.as_posix() in SCALE:
        return "scale"
    folder = place.parts[0].removesuffix(".py") if place.name != "__init__.py" else place.parts[0]
    if place.parts[:2] == ("datasets", "fetch"):
        return "datasets/fetch"
    if len(place.parts) == 1 and not any(folder in part.split() for part in BUDGET):
        folder = "."
    return next((part for part in BUDGET if folder in part.split()), folder)


@functools.cache
def measured():
    """Part: (code lines, files)."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        lines, files = found.get(part_of(path), (0, 0))
        found[part_of(path)] = (lines + len(code_lines(path)), files + 1)
    return found


def within(what, now, budget, today):
    """Lines, or files, are within the budget, or what they were when this was written and no more."""
    most = max(budget, today)
    assert now <= most, (
        f"{what}: {now}, and {most} are allowed; make it smaller, or say in the design why not"
    )
    if today > budget:
        shrunk = f"{what} shrank from {today} to {now}: write that into TODAY"
        assert now > 0.9 * today, shrunk


def test_each_part_is_within_its_budget():
    found = measured()
    assert found.keys() <= BUDGET.keys(), f"no budget for {found.keys() - BUDGET.keys()}"
    for part, now in found.items():
        for unit, n, budget, today in zip(
            ("lines", "files"), now, BUDGET[part], TODAY.get(part, (0, 0)), strict=True
        ):
            within(f"{unit} of {part}", n, budget, today)


def test_the_whole_is_within_its_budget():
    found = {part: numbers for part, numbers in measured().items() if part != "checks"}
    sums = [sum(column) for column in zip(*found.values(), strict=True)]
    for unit, n, budget in zip(("lines", "files"), sums, SUM, strict=True):
        within(f"{unit} of the package", n, budget, 0)


def test_scripts_and_styles_of_the_pages():
    files = [path for kind in ("js", "css") for path in PACKAGE.rglob(f"*.{kind}")]
    n = [0, 0]
    for path in files:
        n[path.parent.name == "web"] += len(path.read_text(encoding="utf-8").splitlines())
    within("lines of JavaScript and CSS", n[0], PAGES, TODAY_PAGES)
    within("lines of JavaScript and CSS of the site", n[1], SITE, 0)


def test_what_counts(tmp_path):
    file = tmp_path / "a.py"
    file.write_text(
        '"""Doc."""\n\n# why\nx = f(\n    1,\n)\n\n\ndef g():\n    """Doc.\n\n    More.\n    """\n    return """a\n    b"""\n'
    )
    assert sorted(code_lines(file)) == [4, 5, 9, 14, 15]
