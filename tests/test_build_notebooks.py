"""The build of the notebooks, on small courses made here: what is run, what is written, what is refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent

import build_notebooks
import course
import measure_course
import notebook_outputs
import notebook_source

HEAD = """# %% [markdown]
# # Start here
# <!-- links:start -->
# <!-- links:end -->

# %%
import numpy as np

SEED = 0

"""
EXERCISE = """# %% [markdown]
# <details><summary>Hint 1</summary>idea</details> <details><summary>Hint 2</summary>call</details>

# %% tags=["exercise"]
def double(x):
    raise NotImplementedError


checks.check_double(double)

# %% [markdown]
# **Solution (click to open)**

# %% tags=["solution"]
def solution_double(x):
    return 2 * x


checks.check_double(solution_double)
"""


@pytest.fixture
def root(tmp_path):
    """A course with one small notebook, a package of one file and a README with the markers."""
    for folder in ("notebooks/sources", "cbirkit", "data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "cbirkit" / "__init__.py").write_text("answer = 42\n")
    (tmp_path / "README.md").write_text(
        "# kit\n\n<!-- contents:start -->\nold\n<!-- contents:end -->\n\nthe end\n"
    )
    write(tmp_path, HEAD + "# %%\nprint(np.arange(3) + SEED)\n")
    return tmp_path


def write(root, text, stem="00_start_here"):
    notebook_source.source_path(root, stem).write_text(text)


def built(root, stem="00_start_here"):
    return nbformat.read(notebook_source.notebook_path(root, stem), as_version=4)


def build(root, *arguments):
    return build_notebooks.run([*arguments, "--root", str(root)])


def test_builds_once_then_only_what_changed(root, capsys):
    assert build(root) == 0
    assert "built in" in capsys.readouterr().out
    first = notebook_source.notebook_path(root, "00_start_here").read_bytes()
    notebook = built(root)
    assert notebook.cells[-1].outputs[0].text == "[0 1 2]\n"
    assert build(root) == 0 and "up to date" in capsys.readouterr().out
    assert build(root, "--force") == 0 and "forced" in capsys.readouterr().out
    assert notebook_source.notebook_path(root, "00_start_here").read_bytes() == first, (
        "not deterministic"
    )

    source = notebook_source.source_path(root, "00_start_here")
    source.write_text(source.read_text().replace("# # Start here", "# # Begin here"))
    assert build(root, "--check") == 1 and "cell 1 differs" in capsys.readouterr().out
    assert build(root) == 0 and "prose copied" in capsys.readouterr().out
    assert built(root).cells[-1].outputs and "Begin here" in built(root).cells[0].source
    assert build(root, "--check") == 0
    capsys.readouterr()

    (root / "cbirkit" / "__init__.py").write_text("answer = 43\n")
    assert build(root) == 0 and "package changed" in capsys.readouterr().out
    source.write_text(source.read_text().replace("arange(3)", "arange(4)"))
    assert build(root) == 0 and "source changed" in capsys.readouterr().out
    assert "[0 1 2 3]" in built(root).cells[-1].outputs[0].text


def test_a_failing_cell_is_named_and_nothing_is_written(root, capsys):
    write(root, HEAD + "# %%\n# divide\nnp.zeros(3)[7]\n")
    assert build(root) == 1
    out = capsys.readouterr().out
    assert "00_start_here, cell 3, '# divide': IndexError: index 7" in out
    assert not notebook_source.notebook_path(root, "00_start_here").exists()


def test_a_broken_notebook_file_is_built_again(root):
    notebook_source.notebook_path(root, "00_start_here").write_text('{"cells": [')
    assert build(root, "--check") == 1
    assert build(root) == 0 and build(root, "--check") == 0


def test_an_edited_notebook_is_noticed(root, capsys):
    assert build(root) == 0
    notebook = built(root)
    notebook.cells[-1].source = "print('by hand')"
    nbformat.write(notebook, notebook_source.notebook_path(root, "00_start_here"))
    assert build(root, "--check") == 1 and "cell 3 differs" in capsys.readouterr().out


def test_readme_and_links_are_generated(root, capsys):
    assert build(root) == 0
    readme = (root / "README.md").read_text()
    assert "[start_here](notebooks/00_start_here.ipynb)" in readme and "\nold\n" not in readme
    assert readme.startswith("# kit") and readme.endswith("the end\n")
    assert "Next: 01_measuring_retrieval (still to come)" in built(root).cells[0].source
    write(root, HEAD, "02_local_features")
    assert build(root, "--check") == 1
    assert "links or course map are out of date" in capsys.readouterr().out
    assert build(root) == 0
    assert "then [02_local_features](02_local_features.ipynb)" in built(root).cells[0].source
    assert (
        "Previous: 01_measuring_retrieval (still to come)"
        in built(root, "02_local_features").cells[0].source
    )


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("print('%s/somewhere' % __import__('os').getcwd())", "path of this machine"),
        (
            "import sys\nprint('UserWarning: careful', file=sys.stderr)",
            "ends in a warning: 'UserWarning: careful'",
        ),
        ("print('2026-11-23 18:22')", "time stamp"),
        ("print('\\n'.join(['x' * 1000] * 1100))", "at most 1 MB"),
    ],
)
def test_what_must_not_be_published_is_refused(root, capsys, cell, words):
    write(root, "# %%\n" + cell + "\nSEED = 0\n")
    assert build(root) == 1 and words in capsys.readouterr().out
    assert not notebook_source.notebook_path(root, "00_start_here").exists()


def test_outputs_are_cleaned(root):
    write(
        root,
        "# %%\nimport ipywidgets\nfrom tqdm.auto import tqdm\nSEED = 0\n"
        "# %%\nfor i in tqdm(range(3)):\n    pass\n# %%\nobject()\n# %%\nipywidgets.IntSlider()\n"
        '# %% alt="A line"\nimport_free = __import__("matplotlib.pyplot").pyplot.plot([1, 2])\n',
    )
    assert build(root) == 0
    notebook = built(root)
    assert notebook.cells[1].outputs == []
    assert "0x…" in notebook.cells[2].outputs[0].data["text/plain"]
    assert notebook.cells[3].outputs[0].data == {"text/plain": notebook_outputs.WIDGET_TEXT}
    figure = notebook.cells[4].outputs[0]
    assert figure.metadata["image/png"]["alt"] == "A line"
    assert "widgets" not in notebook.metadata and "execution" not in notebook.cells[1].metadata
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4, 5]


def test_solutions_are_folded(root):
    double = "# %%\nclass checks:\n    check_double = print\n\n"
    write(root, HEAD + double + EXERCISE)
    assert build(root) == 0
    solution = built(root).cells[-1]
    assert solution.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
    assert solution.outputs, "the solution has to run"


def test_jupyterlab_opens_the_pair_and_saves_both(root):
    jupytext = pytest.importorskip("jupytext")
    (root / "jupytext.toml").write_text((ROOT / "jupytext.toml").read_text())
    write(root, HEAD + "# %%\nclass checks:\n    check_double = print\n\n" + EXERCISE)
    assert build(root) == 0
    source, target = (
        f(root, "00_start_here")
        for f in (notebook_source.source_path, notebook_source.notebook_path)
    )
    os.utime(source, (0, 0))  # as after a clone: the notebook looks much newer than its source
    manager = jupytext.TextFileContentsManager()
    manager.root_dir = str(root)
    model = manager.get("notebooks/00_start_here.ipynb")
    solution = model["content"]["cells"][-1]
    assert solution["outputs"] and solution["metadata"]["jupyter"]["source_hidden"]
    assert [cell["id"] for cell in model["content"]["cells"]] == [
        cell.id for cell in built(root).cells
    ]

    edited = notebook_source.read_source(source)
    model["content"]["cells"][0]["source"] += "\n\nA new sentence."
    manager.save(model, "notebooks/00_start_here.ipynb")
    assert "# A new sentence." in source.read_text() and "kernelspec" not in source.read_text()
    again = notebook_source.read_source(source)
    assert [cell.source for cell in again.cells[1:]] == [cell.source for cell in edited.cells[1:]]
    assert target.exists() and build(root) == 0 and build(root, "--check") == 0


def test_rules_are_enforced_before_anything_runs(root, capsys):
    write(root, HEAD + "# %%\nimport json\n")
    assert build(root) == 1 and "imports stand in the first code cell" in capsys.readouterr().out


def test_names_are_numbers_stems_or_paths(root):
    assert build_notebooks.choose(["00"], root) == ["00_start_here"]
    assert build_notebooks.choose(["notebooks/sources/00_start_here.py"], root) == ["00_start_here"]
    assert build_notebooks.choose([], root) == ["00_start_here"]
    with pytest.raises(build_notebooks.BuildError, match="no source is called '77'"):
        build_notebooks.choose(["77"], root)


def test_replace_between_refuses_half_a_pair():
    assert course.replace_between("no markers", "x", "new") == "no markers"
    with pytest.raises(ValueError, match="mend the markers"):
        course.replace_between("<!-- x:start -->\nold", "x", "new")


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
def test_interrupt_ends_the_kernel_and_leaves_the_old_notebook(root):
    assert build(root) == 0
    before = notebook_source.notebook_path(root, "00_start_here").read_bytes()
    pid = root / "pid"
    first = HEAD.replace("import numpy as np", "import os\nimport time\nfrom pathlib import Path")
    write(
        root,
        first + f"# %%\nn = Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(100)\n",
    )
    tool = str(ROOT / "tools" / "build_notebooks.py")
    build_process = subprocess.Popen(
        [sys.executable, tool, "--root", str(root)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    build_process.send_signal(signal.SIGINT)
    _, err = build_process.communicate(timeout=300)
    assert build_process.returncode == 130 and "interrupted" in err
    assert notebook_source.notebook_path(root, "00_start_here").read_bytes() == before
    assert not list((root / "notebooks").glob(".*.ipynb.*"))
    deadline = time.monotonic() + 120
    while _alive(int(pid.read_text())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(int(pid.read_text())), "the kernel is still running"


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_page_of_numbers_is_as_the_sources_are():
    page = measure_course.PAGE.read_text()
    seconds = measure_course.seconds_in(page)
    assert page == measure_course.HEAD + measure_course.table(seconds), (
        "run `python tools/measure_course.py`"
    )


def test_words_code_lines_and_seconds_are_counted():
    text = "Two words,\n$$x = 1$$ <b>and</b> [a link](https://example.org/x y) <!-- links:start -->\nno no\n<!-- links:end -->"
    assert measure_course.words(text) == 5
    assert measure_course.code_lines("# no\n\nx = 1  # yes\n\n\ny = 2") == 2
    log = "12.60s call     tests/test_notebooks.py::test_source_runs_and_its_claims_hold[03_cnn_features]"
    assert measure_course.seconds_in(log) == {"03_cnn_features": 13}
