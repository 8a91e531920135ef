"""From the cells of a course notebook to those of an assignment: solutions out, a locked check behind each exercise."""

import ast
import functools
import io
import re
import tokenize

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # the marks that nbgrader cuts at
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # what nbgrader puts in their place
DEMONSTRATION = "demonstration"  # tag of what is neither an answer nor a check
_GRADING = """from cbirkit.checks import grade

grade("{check}", {function}, points={points})"""
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
    return made


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
