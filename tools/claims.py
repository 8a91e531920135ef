"""Run the course with several seeds and write down what its claims compare: `docs/claims.md`.

    python tools/claims.py                # all notebooks, seeds 0, 1 and 2: about an hour of one core
    python tools/claims.py 07 14          # the sections of these two; the others stay as they are

A claim is an `assert` in a cell tagged `claim`, or `record` where it rests on a table of a longer run. Each comparison in it is a row: both sides with
each seed, and the margin, the smallest distance between the sides. In a loop, the row tells of the turn with the smallest margin. A claim
that does not hold is written down as such, and the command ends with 1.
"""

import argparse
import ast
import asyncio
import json
import math
import re
import sys

import build_notebooks
import course
import nbformat
import notebook_source

from cbirkit._atomic import write_bytes

SEEDS = (0, 1, 2)
PAGE = course.ROOT / "docs" / "claims.md"
TAGS = {"claim", "record"}
_HEAD = """# Claims

What the notebooks assert, with the values of both sides for each seed. A row is a comparison; where a loop makes it several times, it is the
time with the smallest margin, which is the distance between the two sides. "True" stands where there is no number to compare. `make claims` writes this
page; what it says of a notebook is as old as the notebook's code.
"""
_MARK = "claims of this run: "
# What runs in the kernel: it notes both sides of a comparison, and lets the notebook go on.
_RECORDER = """
import json as _json
import operator as _operator
_OF = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne", "is": "is_", "is not": "is_not"}
_claims = {}


def _note(text, holds, sides=None):
    try:
        sides = [float(side) for side in sides]
        margin = abs(sides[0] - sides[1]) * (1 if holds else -1)
    except (TypeError, ValueError):
        sides, margin = None, 0.0
    known = _claims.get(text)
    if known is None or (holds, margin) < (known["holds"], known["margin"]):
        _claims[text] = {"holds": holds, "sides": sides, "margin": margin}
    return True


def _compared(text, sign, left, right):
    if sign in ("in", "not in"):
        return _note(text, (left in right) == (sign == "in"))
    return _note(text, bool(getattr(_operator, _OF[sign])(left, right)), (left, right))
"""
_SIGNS = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}


def parts_of(test):
    """The comparisons of an asserted expression: (text, sign, left, right), or (text, None, expression, None)."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [part for value in test.values for part in parts_of(value)]
    if not isinstance(test, ast.Compare):
        return [(ast.unparse(test), None, test, None)]
    sides = [test.left, *test.comparators]
    pairs = zip(sides[:-1], test.ops, sides[1:], strict=True)
    return [
        (f"{ast.unparse(a)} {_SIGNS[type(op)]} {ast.unparse(b)}", _SIGNS[type(op)], a, b)
        for a, op, b in pairs
    ]


class _Recorded(ast.NodeTransformer):
    """Each assert becomes calls that note what it compares."""

    def visit_Assert(self, node):
        calls = []
        for text, sign, left, right in parts_of(node.test):
            if sign is None:
                call = f"_note({text!r}, bool({ast.unparse(left)}))"
            else:
                both = f"({ast.unparse(left)}), ({ast.unparse(right)})"
                call = f"_compared({text!r}, {sign!r}, {both})"
            calls.append(ast.parse(call).body[0])
        return calls


def claims_of(notebook):
    """The texts of all comparisons that a notebook claims, in their order, each once."""
    cells = [cell.source for cell in notebook.cells if TAGS & {*cell.metadata.get("tags", [])}]
    asserts = [
        node for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Assert)
    ]
    return list(dict.fromkeys(text for node in asserts for text, *_ in parts_of(node.test)))


def recorded(notebook, seed):
    """The notebook as it is run here: another seed, claims noted, nothing behind the last of them."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = max(n for n, cell in enumerate(cells) if TAGS & {*cell.metadata.get("tags", [])})
    made = [nbformat.v4.new_code_cell(_RECORDER)]
    for cell in cells[: last + 1]:
        text = re.sub(r"^SEED = \d+", f"SEED = {seed}", cell.source, flags=re.MULTILINE)
        if TAGS & {*cell.metadata.get("tags", [])}:
            text = ast.unparse(_Recorded().visit(ast.parse(text)))
        made.append(nbformat.v4.new_code_cell(text))
    made.append(nbformat.v4.new_code_cell(f"print({_MARK!r} + _json.dumps(_claims))"))
    return nbformat.v4.new_notebook(cells=made)


def measured(stem, seed, root=course.ROOT):
    """Run one notebook with one seed: {text: {"holds", "sides", "margin"}}."""
    source = notebook_source.read_source(notebook_source.source_path(root, stem))
    notebook = recorded(source, seed)
    asyncio.run(build_notebooks.execute(notebook, stem, root=root))
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    return json.loads(printed.split(_MARK, 1)[1])


def _shown(one, sign):
    if one is None:
        return "not reached"
    if one["sides"] is None:
        return "True" if one["holds"] else "**does not hold**"
    text = f"{one['sides'][0]:.3g} {sign} {one['sides'][1]:.3g}"
    return text if one["holds"] else f"**{text}: does not hold**"


def section(stem, texts, by_seed):
    """The part of the page that tells of one notebook; `by_seed` holds a result of `measured` for each seed."""
    seeds = " | ".join(f"seed {seed}" for seed in by_seed)
    lines = [f"## {stem}", f"| claim | {seeds} | margin |", "|---" * (len(by_seed) + 2) + "|"]
    for text in texts:
        found = [by_seed[seed].get(text) for seed in by_seed]
        sign = parts_of(ast.parse(text, mode="eval").body)[0][1]
        numbers = [one["margin"] for one in found if one and one["sides"]]
        finite = [number for number in numbers if math.isfinite(number)]
        margin = f"{min(finite):.2g}" if finite else ""
        shown = " | ".join(_shown(one, sign) for one in found)
        code = text.replace("|", "\\|")
        lines.append(f"| `{code}` | {shown} | {margin} |")
    return "\n".join(lines) + "\n"


def sections_of(page):
    """{stem: its part of the page}."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in parts}


def run(arguments=None):
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="numbers or names of notebooks (default: all)")
    options = parser.parse_args(arguments)
    for stem in build_notebooks.choose(options.names):
        source = notebook_source.read_source(notebook_source.source_path(course.ROOT, stem))
        by_seed = {seed: measured(stem, seed) for seed in SEEDS}
        parts = sections_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
        parts[stem] = section(stem, claims_of(source), by_seed)
        present = [name for name in course.stems_present() if name in parts]
        write_bytes(PAGE, "\n".join([_HEAD, *(parts[name] for name in present)]).encode())
        print(f"{stem}: {parts[stem].count('does not hold')} do not hold", flush=True)
    return int("does not hold" in PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(run())
