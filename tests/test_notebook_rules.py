"""The rules of a notebook: a good one passes, each broken rule is named."""

import notebook_rules
import notebook_source
import pytest
from test_build_notebooks import EXERCISE, HEAD


@pytest.fixture
def read(tmp_path):
    """Function from the text of a source to the notebook."""

    def read_text(text):
        path = tmp_path / "00_start_here.py"
        path.write_text(text)
        return notebook_source.read_source(path)

    return read_text


def test_rules_accept_a_good_notebook(read):
    assert notebook_rules.broken_rules(read(HEAD + EXERCISE)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "# %%\n" + "x = 1\n" * 16, "has 16 lines"),
        (HEAD + "# %%\nimport json\n", "imports stand in the first code cell"),
        (HEAD + '# %% tags=["clam"]\nassert SEED == 0\n', "unknown tag 'clam'"),
        (HEAD + '# %% tags=["claim"]\nprint(1)\n', "asserts nothing"),
        (HEAD + "# %%\nx = = 1\n", "not plain Python"),
        (HEAD.replace("SEED = 0", ""), "SEED = 0 is missing"),
        (
            HEAD + EXERCISE.replace("raise NotImplementedError", "return x"),
            "raise NotImplementedError",
        ),
        (
            HEAD + EXERCISE.replace("<details><summary>Hint 2", "<summary>Hint 2"),
            "two <details> hints",
        ),
        (HEAD + EXERCISE.replace("solution_double", "double"), "shares double"),
        (HEAD + EXERCISE.replace("Solution (click to open)", ""), "Solution (click to open)"),
        (HEAD + EXERCISE.replace("checks.check_double(solution_double)", ""), "not checked"),
        (
            HEAD + EXERCISE.split("# %% [markdown]\n# **Sol")[0],
            "1 exercises but 0 checked solutions",
        ),
        (HEAD + EXERCISE + "# %%\nprint(solution_double(2))\n", "shares solution_double"),
    ],
)
def test_rules_reject(read, text, words):
    assert words in "\n".join(notebook_rules.broken_rules(read(text)))


def test_names_inside_a_comprehension_are_nobody_elses(read):
    text = (
        HEAD
        + EXERCISE.replace("    return 2 * x", "    return [n for n in [2 * x]][0]")
        + "# %%\nn = [n for n in ()]\n"
    )
    assert notebook_rules.broken_rules(read(text)) == []


def test_cell_ids_follow_content_not_position(read):
    before = read(HEAD + "# %%\nprint(1)\n\n# %%\nprint(1)\n")
    after = read(HEAD + "# %% [markdown]\n# new\n\n# %%\nprint(1)\n\n# %%\nprint(1)\n")
    ids = [cell.id for cell in before.cells]
    assert len(set(ids)) == len(ids) and set(ids) < {cell.id for cell in after.cells}
