"""``cbirkit assignments``: the course's notebooks as assignments, for students and for nbgrader."""

import json

from .._atomic import expanded, write_bytes
from .assignment_cells import assignment_cells
from .say import Failure

VERSIONS = {"source": True, "release": False}  # folder: with solutions
# nbgrader's steps of autograding, with ours around the first of them. It goes into JSON, which nbgrader reads beside an nbgrader_config.py of one's own.
PREPROCESSORS = [
    "cbirkit.cli.assignment_referee.Needed",
    "nbgrader.preprocessors.Execute",
    "cbirkit.cli.assignment_referee.Referee",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]


def write_assignments(arguments, printer):
    """Write each notebook that has exercises as an assignment, with and without solutions.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, out, only, overwrite.
    printer : cbirkit.cli.say.Printer

    Raises
    ------
    Failure
        There are no notebooks, one is not wanted or not readable, or a file is there that differs.
    """
    chosen = _chosen(expanded(arguments.folder), arguments.only)
    out, written = expanded(arguments.out), 0
    files = {}
    linked = {path.stem for path in chosen} | {path.name for path in out.glob("source/*")}
    for path in chosen:
        for version, notebook in _versions(path, linked).items():
            files[out / version / path.stem / path.name] = (
                json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            ).encode()
    differing = [
        path for path, data in files.items() if path.exists() and path.read_bytes() != data
    ]
    if differing and not arguments.overwrite:
        raise Failure(
            f"{len(differing)} files are there already and differ, the first is {differing[0]}; "
            "choose another folder with --out, or pass --overwrite to lose what was changed in them"
        )
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
        written += 1
    config = out / "nbgrader_config.json"
    settings = {
        "Autograde": {"autograde_preprocessors": PREPROCESSORS},
        "Execute": {"iopub_timeout": 120},
    }  # 4 s end a busy machine's run
    lines = json.dumps(settings, indent=1)
    if not config.exists():
        write_bytes(config, f"{lines}\n".encode())
    elif PREPROCESSORS[0] not in config.read_text(encoding="utf-8"):
        printer.note(f"{config} is yours and was left as it is; add to it: {lines}")
    printer.note(
        f"wrote {written // len(VERSIONS)} assignments: {out / 'release'} for students, {out / 'source'} has the solutions"
    )
    printer.result(str(out))


def _chosen(folder, only):
    """Paths of the notebooks that become assignments, in order."""
    numbered = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not numbered:
        raise Failure(
            f"no notebooks of the course in {folder}; pass the folder that holds 00_start_here.ipynb with --folder"
        )
    missing = [name for name in only if not any(path.stem.startswith(name) for path in numbered)]
    if missing:
        raise Failure(
            f"no notebook begins with {missing[0]!r}; there are {', '.join(p.stem[:2] for p in numbered)}"
        )
    return [
        path for path in numbered if not only or any(path.stem.startswith(name) for name in only)
    ]


def _versions(path, linked):
    """Folder: notebook as a dict."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
    except (ValueError, KeyError, OSError) as error:
        raise Failure(
            f"{path} is not a notebook ({type(error).__name__}: {error}); get it anew"
        ) from error
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    frame = {
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    try:
        return {
            name: {"cells": assignment_cells(cells, solutions=has, linked=linked), **frame}
            for name, has in VERSIONS.items()
        }
    except ValueError as error:
        raise Failure(f"{path}: {error}") from error
