"""`docs/claims.md` tells of every claim of the course; the tool that writes it sees a claim that does not hold."""

import claims
import course
import nbformat
import notebook_source
import pytest


def notebook_of(*cells):
    made = [nbformat.v4.new_code_cell("SEED = 0")]
    made += [nbformat.v4.new_code_cell(cell, metadata={"tags": ["claim"]}) for cell in cells]
    return nbformat.v4.new_notebook(cells=made)


def run_here(notebook):
    names = {}
    for cell in notebook.cells[:-1]:
        exec(compile(cell.source, "cell", "exec"), names)  # noqa: S102 (our own code)
    return names["_claims"]


def test_both_sides_of_each_comparison_are_noted_and_a_false_one_stops_nothing():
    notebook = notebook_of("assert 1 < SEED + 2 < 3 and SEED in (1, 7), 'why'\nassert SEED == 5")
    noted = run_here(claims.recorded(notebook, seed=1))
    assert list(noted) == claims.claims_of(notebook)
    assert noted["1 < SEED + 2"] == {"holds": True, "sides": [1, 3], "margin": 2}
    assert noted["SEED + 2 < 3"] == {"holds": False, "sides": [3, 3], "margin": 0}
    assert noted["SEED in (1, 7)"]["holds"]
    assert noted["SEED == 5"] == {"holds": False, "sides": [1, 5], "margin": -4}


@pytest.mark.parametrize(("values", "worst"), [((5, 2, 9), 2), ((5, 0.5, -3), -3)])
def test_of_a_loop_the_worst_time_is_kept(values, worst):
    notebook = notebook_of(f"for value in {values}:\n    assert value > 1, value")
    noted = run_here(claims.recorded(notebook, seed=0))
    assert noted == {"value > 1": {"holds": worst > 1, "sides": [worst, 1], "margin": worst - 1}}


def test_what_fails_or_was_not_reached_says_so_on_the_page():
    noted = {"a < 1": {"holds": False, "sides": [2.0, 1.0], "margin": -1.0}}
    page = claims.section("00_start_here", ["a < 1", "b | c"], {0: noted})
    assert "| `a < 1` | **2 < 1: does not hold** | -1 |" in page
    assert "| `b \\| c` | not reached |  |" in page
    assert claims.sections_of("head\n\n" + page + "\n## 01_x\nrow\n") == {
        "00_start_here": page,
        "01_x": "## 01_x\nrow\n",
    }


@pytest.mark.parametrize("stem", claims.sections_of(claims.PAGE.read_text(encoding="utf-8")))
def test_what_the_page_tells_of_is_all_that_is_claimed_and_holds(stem):
    source = notebook_source.read_source(notebook_source.source_path(course.ROOT, stem))
    part = claims.sections_of(claims.PAGE.read_text(encoding="utf-8"))[stem]
    told = [line.split("` |", 1)[0].removeprefix("| `") for line in part.splitlines()[3:]]
    assert [text.replace("\\|", "|") for text in told] == claims.claims_of(source)
    assert "does not hold" not in part and "not reached" not in part
