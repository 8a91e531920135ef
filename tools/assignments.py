"""Write the course's notebooks as assignments, for students and for nbgrader (`make assignments`; docs/teaching.md).

    python tools/assignments.py 00 01 02 --out ~/class

OUT/release/NAME/NAME.ipynb goes to students: no solutions, no outputs, and behind each exercise a locked cell that grades it,
a point a star. OUT/source has the solutions; it is what ``nbgrader generate_assignment NAME`` reads.
"""

import argparse
import ast
import functools
import io
import json
import re
import sys
import tokenize
from pathlib import Path

from cbirkit.checks import DEMONSTRATION

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # the marks that nbgrader cuts at
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # what nbgrader puts in their place
VERSIONS = {"source": True, "release": False}  # folder: with solutions
# nbgrader's steps of autograding, with ours around the first of them. It goes into JSON, which nbgrader reads beside an nbgrader_config.py of one's own.
PREPROCESSORS = [
    "cbirkit.checks.referee.Needed",
    "nbgrader.preprocessors.Execute",
    "cbirkit.checks.referee.Referee",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
_GRADING = """from cbirkit.checks import grade

grade("{check}", {function}, points={points})"""
_TOTAL = """from cbirkit.checks import points

points({possible})"""
_HEADING = re.compile(r"^## Exercise \d+ (★+)", re.MULTILINE)
_LINK = re.compile(
    r"!?\[([^\]]+)\]\(((?:\.\./)*)([\w/-]+)\.(ipynb|md|html|png|jpg|svg|csv)(#[^)\s]*)?\)"
)  # no address
_SHIPPED = re.compile(r'(f?)"\.\./data/([^"]+)"')  # an assignment may lie in any folder
_SOLUTION_NOTE = "**Solution (click to open)**"


def assignment_cells(cells, *, solutions, linked=()):
    """Cells of an assignment, made of those of a course notebook.

    Parameters
    ----------
    cells : list of dict
        Of the notebook's JSON.
    solutions : bool
        True for the instructor's version, which has them between `BEGIN` and `END`; False for the students'.
    linked : collection of str
        Names, such as ``"01_measuring_retrieval"``, of the assignments that lie beside this one. Other links become text.

    Returns
    -------
    list of dict
        Without outputs. Each exercise has become a cell to answer in and a locked cell that grades, worth a point a star.

    Raises
    ------
    ValueError
        An exercise has no solution, or its cell is not one function and the call of its check.
    """
    answers = {name: function for cell in cells for name, function in _solved(cell)}
    made, stars = [], 1
    for cell in cells:
        tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
        if "solution" in tags or source.startswith(_SOLUTION_NOTE):
            continue
        source = _LINK.sub(functools.partial(_link, linked), source)
        if cell["cell_type"] == "markdown":
            found = _HEADING.findall(source)
            stars = len(found[-1]) if found else stars
            made.append(_plain(cell, source))
        elif "exercise" in tags:
            made += _exercise(cell, source, answers, stars, solutions)
        else:
            made.append(_plain(cell, _SHIPPED.sub(r'datasets.shipped_file(\1"\2")', source)))
    return made + _total(made)


def _total(made):
    """Cells at the end that say what the exercises have earned so far; none without exercises."""
    marks = [cell["metadata"]["nbgrader"] for cell in made if "nbgrader" in cell["metadata"]]
    possible = {mark["grade_id"]: mark["points"] for mark in marks if mark["grade"]}
    if not possible:
        return []
    told = "## Your points so far\n\nRun the next cell again after an exercise. Whoever grades decides."
    cell = {"cell_type": "code", "id": "points"}
    heading = {"cell_type": "markdown", "id": "points-so-far"}
    return [_plain(heading, told), _plain(cell, _TOTAL.format(possible=possible))]


def _link(linked, found):
    """A link as it is where every assignment lies in a folder of its name, or its text alone."""
    text, up, name, ending, place = found.groups(default="")
    there = ending == "ipynb" and not up and name in linked
    return f"[{text}](../{name}/{name}.ipynb{place})" if there else text


def _solved(cell):
    """Pairs of the check's name and the source of the solution's function, of one cell."""
    if "solution" not in cell["metadata"].get("tags", []):
        return
    source = "".join(cell["source"])
    body = ast.parse(source).body
    if len(body) == 2 and isinstance(body[0], ast.FunctionDef) and _check_of(body[1]):
        yield _check_of(body[1])[0], ast.get_source_segment(source, body[0])


def _check_of(node):
    """Names of the check and of the function that a statement ``checks.check_x(y)`` gives it, or None."""
    call = node.value if isinstance(node, ast.Expr) else None
    if (
        isinstance(call, ast.Call)
        and ast.unparse(call.func).startswith("checks.check_")
        and len(call.args) == 1
    ):
        return ast.unparse(call.func).removeprefix("checks."), ast.unparse(call.args[0])
    return None


def _exercise(cell, source, answers, stars, solutions):
    body = ast.parse(source).body
    check = _check_of(body[-1]) if len(body) == 2 and isinstance(body[0], ast.FunctionDef) else None
    if check is None:
        raise ValueError(
            f"an exercise must be one function and the call of its check, got {source.splitlines()[0]!r}"
        )
    check, function = check
    if check not in answers:
        raise ValueError(f"the exercise {function!r} has no solution; tag its cell `solution`")
    answer = _answer(ast.get_source_segment(source, body[0]), answers[check], solutions)
    grading = _GRADING.format(check=check, function=function, points=stars)
    cells = [
        _code(cell["id"], answer, {"grade": False, "solution": True, "locked": False}, function),
        _code(
            f"{cell['id']}-check",
            grading,
            {"grade": True, "solution": False, "locked": True, "points": stars},
            check,
        ),
    ]
    if not solutions:  # as nbgrader locks them, and JupyterLab and Notebook obey
        cells[0]["metadata"] |= {"deletable": False}
        cells[1]["metadata"] |= {"deletable": False, "editable": False}
    return cells


def _answer(stub, solution, solutions):
    """The exercise's function, with the solution's body between the marks, or with the stub in its place."""
    head = stub[: stub.index("raise NotImplementedError")].rstrip()
    lines = [head]
    if not solutions:
        return "\n".join([*lines, *(f"    {line}" for line in STUB.splitlines())])
    renamed = _renamed(solution, stub)
    function = ast.parse(renamed).body[0]
    first = function.body[1 if ast.get_docstring(function) is not None else 0]
    kept = renamed.splitlines()[first.lineno - 1 : function.end_lineno]
    return "\n".join([*lines, f"    {BEGIN}", *kept, f"    {END}"])


def _renamed(solution, stub):
    """The solution under the name and with the parameters of the exercise."""
    theirs, ours = (ast.parse(text).body[0] for text in (solution, stub))
    names = {theirs.name: ours.name}
    names |= {a.arg: b.arg for a, b in zip(theirs.args.args, ours.args.args, strict=True)}
    lines = solution.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(solution).readline))):
        if token.type == tokenize.NAME and token.string in names:
            (row, start), (_, end) = token.start, token.end
            lines[row - 1] = lines[row - 1][:start] + names[token.string] + lines[row - 1][end:]
    return "".join(lines)


def _plain(cell, source):
    """A cell as it was, without outputs and the tags it had."""
    made = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}, "source": source}
    code = {"execution_count": None, "outputs": [], "metadata": {"tags": [DEMONSTRATION]}}
    return made | code if cell["cell_type"] == "code" else made


def _code(name, source, roles, grade_id):
    """A code cell with what nbgrader wants to know of it."""
    marks = {"schema_version": 3, "task": False, "grade_id": grade_id} | roles
    return {
        "cell_type": "code", "id": name, "metadata": {"nbgrader": marks}, "source": source,
        "execution_count": None, "outputs": [],
    }  # fmt: skip


def write_assignments(folder, out, only=(), *, overwrite=False):
    """Write each notebook that has exercises as an assignment, with and without solutions.

    Parameters
    ----------
    folder, out : pathlib.Path
    only : sequence of str
        Beginnings of the names of the notebooks that are wanted; all without.
    overwrite : bool
        Replace files that are there and differ.

    Raises
    ------
    SystemExit
        There are no notebooks, one is not there or not readable, or a file is there that differs.
    """
    chosen, files = _chosen(folder, only), {}
    linked = {path.stem for path in chosen} | {path.name for path in out.glob("source/*")}
    for path in chosen:
        for version, notebook in _versions(path, linked).items():
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            files[out / version / path.stem / path.name] = text.encode()
    differing = [
        path for path, data in files.items() if path.exists() and path.read_bytes() != data
    ]
    if differing and not overwrite:
        sys.exit(
            f"{len(differing)} files are there already and differ, the first is {differing[0]}; "
            "choose another folder with --out, or pass --overwrite to lose what was changed in them"
        )
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _configure(out / "nbgrader_config.json")
    print(
        f"wrote {len(chosen)} assignments in {out}: release/ for students, source/ has the solutions"
    )


def _configure(config):
    """Write nbgrader's configuration, or say what to add where there is one already."""
    settings = {
        "Autograde": {"autograde_preprocessors": PREPROCESSORS},
        "Execute": {"iopub_timeout": 120},  # 4 s end a busy machine's run
    }
    lines = json.dumps(settings, indent=1)
    if not config.exists():
        config.write_text(f"{lines}\n", encoding="utf-8")
    elif PREPROCESSORS[0] not in config.read_text(encoding="utf-8"):
        print(f"{config} is yours and was left as it is; add to it: {lines}", file=sys.stderr)


def _chosen(folder, only):
    """Paths of the notebooks that become assignments, in order."""
    numbered = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not numbered:
        sys.exit(f"no notebooks of the course in {folder}; pass their folder with --folder")
    missing = [name for name in only if not any(path.stem.startswith(name) for path in numbered)]
    if missing:
        there = ", ".join(path.stem[:2] for path in numbered)
        sys.exit(f"no notebook begins with {missing[0]!r}; there are {there}")
    return [path for path in numbered if not only or path.stem.startswith(tuple(only))]


def _versions(path, linked):
    """Folder: notebook as a dict."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return {
            name: {
                "cells": assignment_cells(cells, solutions=solutions, linked=linked),
                "metadata": metadata,
                "nbformat": 4,
                "nbformat_minor": 5,
            }
            for name, solutions in VERSIONS.items()
        }
    except (ValueError, KeyError) as error:
        sys.exit(f"{path} is not a notebook of the course ({type(error).__name__}: {error})")


def main(argv=None):
    """Run the command; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split(" (`make")[0] + ".")
    parser.add_argument("only", metavar="NUMBER", nargs="*", help="notebooks (default: all)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "notebooks", metavar="DIR", help="the notebooks"
    )
    parser.add_argument(
        "--out", type=Path, default="assignments", metavar="DIR", help="default: ./assignments"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that differ")
    arguments = parser.parse_args(argv)
    write_assignments(
        arguments.folder.expanduser(),
        arguments.out.expanduser(),
        arguments.only,
        overwrite=arguments.overwrite,
    )


if __name__ == "__main__":
    main()
