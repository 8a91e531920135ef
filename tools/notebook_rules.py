"""The rules of a notebook that a program can check, each reported with the cell's number and first line."""

import ast

MAX_LINES = 15
MAX_IMPORTS = 18  # of the first code cell, which holds all imports
TAGS = {"claim", "exercise", "extra", "gallery", "record", "solution"}
_OWN_SCOPE = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)


def broken_rules(notebook):
    """Return one sentence per broken rule of a source that `notebook_source.read_source` read."""
    found, trees = [], {}
    code = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    for n, cell in enumerate(notebook.cells):
        tags = set(cell.metadata.get("tags", []))
        complaints = [
            f"has the unknown tag {tag!r}; known: {sorted(TAGS)}" for tag in sorted(tags - TAGS)
        ]
        if cell.cell_type == "code":
            try:
                trees[n] = ast.parse(cell.source)
            except SyntaxError as error:
                complaints.append(
                    f"is not plain Python ({error.msg}, line {error.lineno}): no shell lines, no magics"
                )
            else:
                complaints += _code_complaints(cell, tags, trees[n], first=n == code[0])
        found += [_sentence(n, cell, complaint) for complaint in complaints]
    found += _solution_complaints(notebook, trees) + _exercise_complaints(notebook)
    if not any("SEED = 0" in notebook.cells[n].source for n in code[:2]):
        found.append("SEED = 0 is missing from the first two code cells")
    return found


def _sentence(number, cell, complaint):
    first = (cell.source.strip().splitlines() or ["(empty)"])[0]
    return f"cell {number + 1} ({first[:60]!r}) {complaint}"


def _code_complaints(cell, tags, tree, *, first):
    found = []
    n_lines, most = len(cell.source.splitlines()), MAX_IMPORTS if first else MAX_LINES
    if n_lines > most:
        found.append(f"has {n_lines} lines; at most {most}, one idea each")
    if not first and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree)):
        found.append("imports; imports stand in the first code cell")
    if "claim" in tags and not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        found.append("is tagged claim and asserts nothing")
    if "exercise" in tags:
        stubs = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        if not stubs or not all(_is_stub(stub) for stub in stubs):
            found.append(
                "is tagged exercise: its functions hold a docstring and `raise NotImplementedError`"
            )
        if "checks.check_" not in cell.source:
            found.append("is tagged exercise and calls no checks.check_…")
    return found


def _is_stub(function):
    """True if a function holds nothing but a docstring and ``raise NotImplementedError``."""
    body = [
        node
        for node in function.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    return (
        len(body) == 1
        and isinstance(body[0], ast.Raise)
        and "NotImplementedError" in ast.unparse(body[0])
    )


def bound_names(tree):
    """Return the names that the top level of a cell binds."""
    names, pending = set(), list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, _OWN_SCOPE):
            pending += ast.iter_child_nodes(node)
    return names


def _solution_complaints(notebook, trees):
    """Solutions neither rebind a name of the notebook nor are needed by it: the reader may delete them."""
    found = []
    solutions = {n for n in trees if "solution" in notebook.cells[n].metadata.get("tags", [])}
    others = {n: tree for n, tree in trees.items() if n not in solutions}
    bound_elsewhere = set().union(*(bound_names(tree) for tree in others.values()))
    used_elsewhere = {
        x.id for tree in others.values() for x in ast.walk(tree) if isinstance(x, ast.Name)
    }
    for n in sorted(solutions):
        names = bound_names(trees[n])
        if names & (bound_elsewhere | used_elsewhere):
            shared = ", ".join(sorted(names & (bound_elsewhere | used_elsewhere)))
            found.append(
                _sentence(
                    n, notebook.cells[n], f"is a solution and shares {shared} with other cells"
                )
            )
        defines = any(isinstance(node, ast.FunctionDef) for node in trees[n].body)
        if defines and "checks.check_" not in notebook.cells[n].source:
            found.append(_sentence(n, notebook.cells[n], "is a solution that is not checked"))
        before = notebook.cells[n - 1] if n else None
        if before is None or "Solution (click to open)" not in before.source:
            found.append(
                _sentence(
                    n, notebook.cells[n], "needs 'Solution (click to open)' in the prose before it"
                )
            )
    return found


def _exercise_complaints(notebook):
    found = []
    cells = notebook.cells
    tagged = [(n, set(cell.metadata.get("tags", []))) for n, cell in enumerate(cells)]
    for n, tags in tagged:
        if "exercise" in tags and (n == 0 or cells[n - 1].source.count("<details>") < 2):
            found.append(_sentence(n, cells[n], "needs two <details> hints in the prose before it"))
    exercises = sum("exercise" in tags for _, tags in tagged)
    solutions = sum("solution" in tags and "checks.check_" in cells[n].source for n, tags in tagged)
    if exercises != solutions:
        found.append(f"{exercises} exercises but {solutions} checked solutions")
    return found
