"""Every notebook: its source runs, its claims hold, and what is committed is what the source says."""

import asyncio
import re

import build_notebooks
import course
import jupytext
import nbformat
import notebook_outputs
import notebook_rules
import notebook_source
import pytest
from conftest import ROOT

STEMS = course.stems_present()
NOTEBOOKS = ROOT / "notebooks"

pytestmark = pytest.mark.parametrize("stem", STEMS)
_RUNS = {}


def run_of(stem):
    """The source of `stem` executed once in this session: notebook, files it left behind."""
    if stem not in _RUNS:
        before = files_below(NOTEBOOKS)
        notebook = notebook_source.read_source(notebook_source.source_path(ROOT, stem))
        asyncio.run(build_notebooks.execute(notebook, stem, root=ROOT))
        _RUNS[stem] = notebook, files_below(NOTEBOOKS) - before
    return _RUNS[stem]


def files_below(folder):
    return {
        path
        for path in folder.rglob("*")
        if path.is_file() and ".ipynb_checkpoints" not in path.parts
    }


def committed(stem):
    path = notebook_source.notebook_path(ROOT, stem)
    assert path.exists(), f"{path.name} is missing: run `make notebooks`"
    return nbformat.read(path, as_version=4)


def cells_tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def shown(cell):
    """All text that the outputs of a cell show."""
    return "\n".join(
        str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for o in cell.outputs
    )


@pytest.mark.runs_notebook
@pytest.mark.timeout(5400)
def test_source_runs_and_its_claims_hold(stem):
    notebook, left = run_of(stem)
    assert cells_tagged(notebook, "claim"), (
        "a notebook without a claim teaches nothing that could be wrong"
    )
    assert not left, (
        f"{stem} leaves files beside the notebooks: {sorted(path.name for path in left)}"
    )


@pytest.mark.runs_notebook
@pytest.mark.timeout(5400)
def test_stubs_are_not_attempted_and_solutions_pass(stem):
    notebook = run_of(stem)[0]
    exercises = cells_tagged(notebook, "exercise")
    solutions = [
        cell for cell in cells_tagged(notebook, "solution") if "checks.check_" in cell.source
    ]
    assert 2 <= len(exercises) <= 4
    assert all("[not attempted]" in shown(cell) for cell in exercises)
    assert all("[passed]" in shown(cell) for cell in solutions)


@pytest.mark.runs_notebook
@pytest.mark.timeout(5400)
def test_committed_outputs_are_those_of_a_run(stem):
    cleaned = notebook_outputs.clean(nbformat.from_dict(run_of(stem)[0]))
    ours = [cell for cell in cleaned.cells if cell.cell_type == "code"]
    theirs = [cell for cell in committed(stem).cells if cell.cell_type == "code"]
    kinds = [[sorted(o.get("data", {"stream": 0})) for o in cell.outputs] for cell in ours]
    assert kinds == [
        [sorted(o.get("data", {"stream": 0})) for o in cell.outputs] for cell in theirs
    ]


def test_notebook_agrees_with_its_source(stem):
    assert build_notebooks.check([stem]) == [], "run `make notebooks`"


def test_cells_obey_the_rules(stem):
    source = notebook_source.read_source(notebook_source.source_path(ROOT, stem))
    assert notebook_rules.broken_rules(source) == []


def test_source_survives_a_save_in_jupyterlab(stem):
    text = notebook_source.source_path(ROOT, stem).read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {"jupytext": {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,alt,-all"}}
    )
    assert jupytext.writes(notebook, fmt="py:percent") == text


def test_notebook_is_small_and_has_outputs(stem):
    path = notebook_source.notebook_path(ROOT, stem)
    notebook = committed(stem)
    assert path.stat().st_size <= notebook_outputs.MAX_BYTES
    assert any(
        "image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", [])
    )
    assert "widgets" not in notebook.metadata
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert all(
        cell.metadata["jupyter"]["source_hidden"] for cell in cells_tagged(notebook, "solution")
    )


def test_figures_have_alternative_text(stem):
    for number, cell in enumerate(committed(stem).cells, start=1):
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}):
                    assert output.metadata.get(kind, {}).get("alt"), (
                        f"the figure of cell {number} has no alternative text"
                    )


def test_links_are_valid(stem):
    for cell in committed(stem).cells:
        if cell.cell_type != "markdown":
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
            if re.match(r"https?://", target):
                assert re.match(r"https://[\w.-]+\.\w+(/\S*)?$", target), f"odd link {target}"
            else:
                assert (NOTEBOOKS / target.split("#")[0]).exists(), (
                    f"{stem} links to {target}, which does not exist"
                )


def test_skeleton_is_complete(stem):
    text = "\n".join(cell.source for cell in committed(stem).cells if cell.cell_type == "markdown")
    for part in (
        "You will be able to",
        "Build it",
        "Measure it",
        "Try it",
        "Exercise",
        "What we learned",
        "million images",
    ):
        assert part in text, f"{stem} lacks the part {part!r}"
    assert len(re.findall(r"<summary>\d\. ", text)) >= 4, (
        "the self-quiz has four questions with folded answers"
    )
    assert (
        3 <= len(re.findall(r"doi\.org/|arxiv\.org/abs/", text.split("Further reading")[-1])) <= 6
    )
