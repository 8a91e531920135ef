"""`tools/assignments.py`: students' notebooks without solutions, which nbgrader takes, validates and grades."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import assignments as tool
import numpy as np
import pytest
from assignments import BEGIN, PREPROCESSORS, STUB, assignment_cells
from conftest import ROOT

from cbirkit import checks
from cbirkit.checks import DEMONSTRATION

STEMS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SCRIPTS = Path(sys.executable).parent

HEAD = "def precision_at_k(relevant, k):\n    "
RIGHT = HEAD + "return relevant[:k].sum() / k\n"
WRONG = HEAD + "return relevant[:k].sum() / len(relevant[:k])\n"  # divides by what came back
STUDENTS = {  # what is written into the answer's cell
    "right": RIGHT,
    "wrong": WRONG,
    "broken": HEAD + "return relevant[:k].sum() /",  # no Python at all
    "raising": HEAD + "return relevant[99]",
    "endless": HEAD + "while True:\n        pass",
    "none": HEAD + "pass",
    "deleted": "",
    "no function": "precision_at_k = 0.5",
    "of another type": HEAD + "return np.array(relevant[:k].sum() / k, dtype=np.float32)",
}
NOISES = [  # of a right answer that is not silent
    "np.log(np.zeros(2))",
    "import warnings; warnings.warn('look out')",
    "import sys; print('one', 2); print('two', file=sys.stderr)",
    "import logging; logging.getLogger('mine').warning('look out'); logging.warning('look out'); logging.warning('again')",
    "import os; os.write(2, b'look out'); os.write(1, b'look out')",
    "from tqdm.auto import tqdm; list(tqdm(range(3))); from tqdm import tqdm; list(tqdm(range(3)))",
    "import os; os.system('echo look out >&2')",
]
_SHELL = "shell = get_ipython()\n"
TRICKS = {  # written below a wrong answer
    "other check": "from cbirkit import checks\nchecks.check_precision_at_k = lambda answer: checks.Verdict('', 'passed', '')",
    "other grade": "from cbirkit import checks\nchecks.grade = checks.grading.grade = lambda *names, **settings: None",
    "import hook": "import builtins, types\nold = builtins.__import__\nfake = types.SimpleNamespace(grade=lambda *names, **settings: None)\n"
    "builtins.__import__ = lambda name, *more, **some: fake if 'checks' in name else old(name, *more, **some)",
    "meta path": "import sys, types\nfake = types.ModuleType('cbirkit.checks')\nfake.grade = lambda *names, **settings: None\n"
    "sys.modules['cbirkit.checks'] = fake",
    "tree": _SHELL + "import ast\nclass Pass(ast.NodeTransformer):\n    def visit_Module(self, node):\n        return ast.parse('pass')\n"
    "shell.ast_transformers.append(Pass())",
    "input": _SHELL + "shell.input_transformers_post.append(lambda lines: ['pass\\n'])",
    "handler": _SHELL + "shell.set_custom_exc((Exception,), lambda *parts, **some: None)",
    "no traceback": _SHELL + "shell.showtraceback = lambda *parts, **some: None",
    "environment": "import os\ndel os.environ['NBGRADER_EXECUTION']",
    "comparison": "np.isclose = np.allclose = np.array_equal = lambda *given, **settings: True",
    "thread": "import threading\nclass Still(threading.Thread):\n    def run(self):\n        pass\nthreading.Thread = Still",
    "process": "import subprocess, io, pickle\nfrom cbirkit.checks import Verdict\nclass Fake:\n    def __init__(self, *names, **settings):\n"
    "        self.stdout = io.BytesIO(pickle.dumps(Verdict('precision_at_k', 'passed', '')))\n    __enter__ = lambda self: self\n"
    "    __exit__ = lambda self, *parts: None\nsubprocess.Popen = Fake",
    "display": "import builtins\nold = display\ndef shows(what, **settings):\n    raw = isinstance(what, dict)\n"
    "    old({name: '' for name in what} if raw else what, **settings)\nbuiltins.display = shows",
    "frames": "import sys\n" + HEAD + "for frame in sys._current_frames().values():\n        while frame:\n"
    "            if callable(trusted := frame.f_locals.get('trusted')):\n                return trusted(relevant, k)\n"
    "            frame = frame.f_back\n    return 0.0",
    "equal to all": "class Any(float):\n    __eq__ = __le__ = __sub__ = __rsub__ = __float__ = lambda *given: True\n"
    + HEAD + "return Any(0)",
    "exits": "import sys\n" + HEAD + "sys.exit(0)",
}  # fmt: skip
for together in (
    ["other check", "other grade", "comparison", "thread"],
    ["handler", "no traceback"],
):
    TRICKS[" and ".join(together)] = "\n".join(TRICKS.pop(name) for name in together)
STUDENTS["noisy"] = "\n    ".join([HEAD.strip(), *NOISES, "return relevant[:k].sum() / k"]) + "\n"
STUDENTS |= {name: f"{WRONG}\n{trick}" for name, trick in TRICKS.items()}
EARN = {"right", "of another type", "noisy"}


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def graded(cells, role):
    return [cell for cell in cells if cell["metadata"].get("nbgrader", {}).get(role)]


@pytest.fixture(scope="module")
def assignments(tmp_path_factory):
    out = tmp_path_factory.mktemp("class")
    tool.main(["--out", str(out)])
    return out


@pytest.mark.parametrize("stem", STEMS)
def test_students_get_no_solution_and_no_output(assignments, stem):
    cells = cells_of(assignments / "release" / stem / f"{stem}.ipynb")
    text = "\n".join(cell["source"] for cell in cells)
    assert "../data/" not in text
    assert "shipped_file(" not in text or re.search(
        r"^from cbirkit import .*\bdatasets\b", text, re.MULTILINE
    )
    assert "solution_" not in text and BEGIN not in text and "Solution (click" not in text
    assert not any(cell.get("outputs") for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)
    answers, checks = graded(cells, "solution"), graded(cells, "grade")
    assert len(answers) == len(checks) >= 2
    assert all(STUB.splitlines()[-1] in cell["source"] for cell in answers)
    assert all(cell["metadata"]["nbgrader"]["locked"] for cell in checks)
    assert not any(cell["metadata"]["editable"] or cell["metadata"]["deletable"] for cell in checks)
    assert not any(cell["metadata"]["deletable"] for cell in answers)
    assert all(cell["metadata"].get("editable", True) for cell in cells if cell not in checks)
    assert all(
        len(cell["source"].splitlines()) == 3 and "sys." not in cell["source"] for cell in checks
    )
    assert {cell["metadata"]["nbgrader"]["points"] for cell in checks} <= {1, 2, 3}


@pytest.mark.parametrize("version", ["release", "source"])
@pytest.mark.parametrize("stem", STEMS)
def test_links_of_an_assignment_lead_to_files_that_are_there(assignments, stem, version):
    path = assignments / version / stem / f"{stem}.ipynb"
    text = "\n".join(cell["source"] for cell in cells_of(path))
    links = re.findall(r"\]\(([^)\s#]+\.\w+)(?:#[^)]*)?\)|(?:src|href)=\"([^\"]+)", text)
    local = {link for pair in links for link in pair if link and not re.match(r"\w+:", link)} - {
        "doi.org"
    }
    assert len([link for link in local if link.endswith(".ipynb")]) >= 2
    assert [link for link in local if not (path.parent / link).is_file()] == []


def test_what_is_not_written_is_not_linked(tmp_path):
    tool.main(["01", "--out", str(tmp_path)])
    path = tmp_path / "release" / "01_measuring_retrieval" / "01_measuring_retrieval.ipynb"
    assert ".ipynb)" not in path.read_text(encoding="utf-8")
    tool.main(["00", "--out", str(tmp_path)])  # beside it
    path = tmp_path / "release" / "00_start_here" / "00_start_here.ipynb"
    assert "](../01_measuring_retrieval/01_measuring_retrieval.ipynb)" in path.read_text(
        encoding="utf-8"
    )
    linked = [
        (
            "![a](../docs/a.png) [b](https://b.org/b.md) [c](01_b.ipynb#d)",
            "a [b](https://b.org/b.md) [c](../01_b/01_b.ipynb#d)",
        ),
        ("`net['a'](b.c)` [e](../notebooks/01_b.ipynb)", "`net['a'](b.c)` e"),
    ]
    for before, after in linked:
        text = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": before}
        assert assignment_cells([text], solutions=False, linked={"01_b"})[0]["source"] == after


@pytest.mark.parametrize("stem", STEMS)
def test_run_all_passes_over_what_is_not_solved(assignments, stem, capsys):
    cells = cells_of(assignments / "release" / stem / f"{stem}.ipynb")
    space = {}
    for cell in cells:
        if "nbgrader" in cell["metadata"]:
            run(cell["source"], space)
    assert capsys.readouterr().out.count("[not attempted]") == len(graded(cells, "grade"))
    head, call = cells[-1]["source"].rsplit("\n", 1)
    run(head, space)
    table = eval(call, space)
    possible = [cell["metadata"]["nbgrader"]["points"] for cell in graded(cells, "grade")]
    assert table.loc["sum"].tolist() == ["", 0, sum(possible)]
    assert set(table["status"].drop("sum")) == {"not attempted"}


def test_points_so_far_are_those_of_the_last_verdicts(monkeypatch):
    monkeypatch.setattr(checks.grading, "_VERDICTS", {})
    space = {"np": np}
    run(RIGHT, space)
    checks.grade("check_precision_at_k", lambda relevant, k: 0.0)
    checks.grade("check_precision_at_k", space["precision_at_k"], points=2)
    checks.grade("check_leave_query_out", lambda query_id, ranked_ids, k: ranked_ids[:k])
    possible = {"check_precision_at_k": 2, "check_leave_query_out": 1, "check_cut": 3}
    assert checks.points(possible).to_dict("index") == {
        "precision_at_k": {"status": "passed", "earned": 2.0, "possible": 2},
        "leave_query_out": {"status": "not yet", "earned": 0.0, "possible": 1},
        "cut": {"status": "not run", "earned": 0.0, "possible": 3},
        "sum": {"status": "", "earned": 2.0, "possible": 6},
    }


def test_a_configuration_of_ones_own_is_kept_and_the_lines_are_told(tmp_path, capsys):
    config = tmp_path / "nbgrader_config.json"
    config.write_text("{}")
    tool.main(["00", "--out", str(tmp_path)])
    assert "referee.Referee" in capsys.readouterr().err
    assert config.read_text() == "{}"


def test_autograding_runs_what_answers_depend_on():
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install nbgrader")
    import nbformat

    from cbirkit.checks.referee import Needed

    sources = {  # source: is run
        "import numpy as np\nSIZE = 3": True,
        "slow = [np.ones(SIZE) for _ in range(9)]\nfor k in slow:\n    total = k": False,
        "offset = SIZE + 1": True,  # used by the helper
        "def helper(x):\n    k = 2\n    return x + offset + k": True,
        "def other(x):\n    return answer(x)": False,
        "%matplotlib inline": False,
        "class Unused:\n    answer = 1": False,
    }
    cells = [
        nbformat.v4.new_code_cell(source, metadata={"tags": [DEMONSTRATION]}) for source in sources
    ]
    marks = {"nbgrader": {"solution": True, "grade": False}}
    answer = "def answer(relevant, k):\n    total = np.sum(relevant)\n    return helper(total) / k"
    cells.append(nbformat.v4.new_code_cell(answer, metadata=marks))
    cells.append(nbformat.v4.new_code_cell("mine = slow"))  # a student's own
    Needed().preprocess(nbformat.v4.new_notebook(cells=cells), {})
    assert ["skip-execution" not in cell.metadata.get("tags", []) for cell in cells] == [
        *sources.values(),
        True,
        True,
    ]


def test_nbgraders_own_steps_are_kept():
    converters = pytest.importorskip(
        "nbgrader.converters", reason="nbgrader is not installed: pip install nbgrader"
    )
    names = [one.rpartition(".")[2] for one in PREPROCESSORS if "cbirkit" not in one]
    assert names == [one.__name__ for one in converters.Autograde.autograde_preprocessors.default()]


@pytest.mark.parametrize("stem", STEMS)
def test_the_instructors_version_has_every_solution_as_working_code(assignments, stem):
    cells = cells_of(assignments / "source" / stem / f"{stem}.ipynb")
    for cell in graded(cells, "solution"):
        function = ast.parse(cell["source"]).body[0]
        known = {argument.arg for argument in function.args.args}
        used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert BEGIN in cell["source"] and known & used, cell["source"]
        assert not any(name.startswith("solution_") for name in used)


def run(source, space):
    exec(source, space)  # noqa: S102  (it is ours)


@pytest.mark.runs_notebook
@pytest.mark.parametrize("stem", STEMS)
def test_right_answers_pass_with_the_cells_that_autograding_runs(assignments, stem, capsys):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install nbgrader")
    import nbformat

    from cbirkit.checks.referee import Needed

    notebook = nbformat.read(assignments / "source" / stem / f"{stem}.ipynb", as_version=4)
    Needed().preprocess(notebook, {})
    space = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "skip-execution" not in cell.metadata.get("tags", []):
            run(cell.source, space)
    assert capsys.readouterr().out.count("[passed]") == len(graded(notebook.cells, "grade")) >= 2


def test_what_a_teacher_changed_is_not_overwritten(assignments):
    path = assignments / "release" / STEMS[0] / f"{STEMS[0]}.ipynb"
    before = path.read_bytes()
    command = ["00", "--out", str(assignments)]
    tool.main(command)  # the same again is no loss
    path.write_bytes(before.replace(b"precision", b"PRECISION", 1))
    with pytest.raises(SystemExit, match="--overwrite"):
        tool.main(command)
    tool.main([*command, "--overwrite"])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--folder", "nowhere"], "nowhere"), (["99"], "'99'")]
)
def test_what_is_missing_is_named(arguments, said, tmp_path):
    with pytest.raises(SystemExit, match=said):
        tool.main([*arguments, "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def cell(source, *tags):
    return {
        "cell_type": "code",
        "id": source[:8],
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": [],
    }


def test_a_solution_with_other_parameter_names_gets_those_of_the_exercise():
    exercise = 'def twice(x):\n    """Double."""\n    raise NotImplementedError\n\n\nchecks.check_twice(twice)'
    solution = "def solution_twice(given_):\n    return given_ + given_  # given_, twice\n\n\nchecks.check_twice(solution_twice)"
    answer = assignment_cells(
        [cell(exercise, "exercise"), cell(solution, "solution")], solutions=True
    )[0]["source"]
    space = {}
    run(answer, space)
    assert space["twice"](3) == 6 and space["twice"].__doc__ == "Double."


def test_an_exercise_without_solution_is_refused():
    exercise = "def twice(x):\n    raise NotImplementedError\n\n\nchecks.check_twice(twice)"
    with pytest.raises(ValueError, match="'twice' has no solution"):
        assignment_cells([cell(exercise, "exercise")], solutions=False)
    with pytest.raises(ValueError, match="one function and the call of its check"):
        assignment_cells(
            [cell("def twice(x):\n    raise NotImplementedError", "exercise")], solutions=False
        )


def guide(step, **names):
    """The words of the command in docs/teaching.md that begins with `step`, with names put in."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8").split("## Half a day")[0]
    commands = [
        line.split("#")[0].split("&&")[0]
        for line in re.findall(r"^(?:python|nbgrader) .*", text, re.MULTILINE)
    ]
    command = next(command for command in commands if command.startswith(step))
    return [names.get(word, word) for word in shlex.split(command)]


def obey(folder, command):
    environment = {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PLATFORM_DIRS": "1",
        "OMP_NUM_THREADS": "1",
    }
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    }
    done = subprocess.run(
        [SCRIPTS / command[0], *command[1:]], cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    return done


def small_course(folder, stem, title):
    """A course of a few exercises of one notebook, those whose function's name holds `title`, as assignment 00_small."""
    course = folder / "notebooks"
    course.mkdir()
    parts = [
        c
        for c in cells_of(ROOT / "notebooks" / f"{stem}.ipynb")
        if f"{title}(" in "".join(c["source"])
    ]
    wanted = [c for c in parts if set(c["metadata"].get("tags", [])) & {"exercise", "solution"}]
    imports = cell("import numpy as np") | {"id": "imports", "execution_count": None}
    notebook = {"cells": [imports, *wanted], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (course / "00_small.ipynb").write_text(json.dumps(notebook))
    tool.main(["--folder", str(course), "--out", str(folder)])
    made = obey(folder, guide("nbgrader generate", **{"00_start_here": "00_small"}))
    assert made.returncode == 0, made.stderr


def hand_in(folder, student, answers, *, checks=None):
    """A submission: the release that nbgrader made, with `answers`, a function's name: source of its cell."""
    for release in (folder / "release").glob("*/*.ipynb"):
        notebook = json.loads(release.read_text(encoding="utf-8"))
        for cell in graded(notebook["cells"], "solution"):
            cell["source"] = answers.get(cell["metadata"]["nbgrader"]["grade_id"], cell["source"])
        for cell in graded(notebook["cells"], "grade"):
            cell["source"] = checks or cell["source"]
        target = folder / "submitted" / student / release.parent.name / release.name
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(notebook), encoding="utf-8")


def points_of(folder, assignment):
    """Points of each student."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        return {s.student.id: s.score for s in gradebook.find_assignment(assignment).submissions}


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Points of each made-up student, graded by nbgrader."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install nbgrader")
    folder = tmp_path_factory.mktemp("nbgrader")
    small_course(folder, "00_start_here", "precision_at_k")
    (folder / "nbgrader_config.py").write_text(
        'c = get_config()\nc.CourseDirectory.course_id = "cbir"\n'
    )  # a teacher's own
    for student, answer in STUDENTS.items():
        hand_in(folder, student, {"precision_at_k": answer})
    hand_in(folder, "unfinished", {})
    hand_in(folder, "edited check", {"precision_at_k": WRONG}, checks="assert True")
    done = obey(folder, guide("nbgrader autograde", **{"00_start_here": "00_small"}))
    return folder, points_of(folder, "00_small"), done


@pytest.mark.timeout(1800)
def test_autograde_gives_points_to_right_answers_only(scores):
    _, points, done = scores
    assert points.keys() == STUDENTS.keys() | {"unfinished", "edited check"}, done.stderr[-3000:]
    assert {student for student in points if points[student]} == EARN
    assert all(points[student] in (0, 1) for student in points)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("right", "Success"),
        ("noisy", "Success"),
        ("wrong", "not yet"),
        ("unfinished", "not attempted"),
    ],
)
def test_validate_tells_a_student_how_it_stands(scores, student, said):
    folder = scores[0] / "submitted" / student / "00_small"
    told = obey(folder, guide("nbgrader validate", **{"00_start_here.ipynb": "00_small.ipynb"}))
    assert said in told.stdout + told.stderr
    assert "Traceback" not in told.stdout


@pytest.mark.timeout(900)
def test_each_bug_that_is_found_earns_its_part(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install nbgrader")
    small_course(tmp_path, "01_measuring_retrieval", "mended_average_precision")
    body = "hits, total = 0, 0.0\n    for rank, good in enumerate(relevant, 1):\n        {}\n    return total / {}"
    first, last = (
        "hits += good\n        total += good * hits / rank",
        "total += good * hits / rank\n        hits += good",
    )
    nan = "n_positives if n_positives else float('nan')"
    answers = {
        "three": (first, nan),
        "two": (first, "(n_positives or 1)"),
        "one": (last, "(n_positives or 1)"),
        "none": (last, "max(hits, 1)"),
    }
    head = "def mended_average_precision(relevant, n_positives):\n    "
    for student, parts in answers.items():
        hand_in(tmp_path, student, {"mended_average_precision": head + body.format(*parts)})
    obey(tmp_path, guide("nbgrader autograde", **{"00_start_here": "00_small"}))
    points = points_of(tmp_path, "00_small")
    assert points == {
        "three": 1,
        "two": pytest.approx(2 / 3),
        "one": pytest.approx(1 / 3),
        "none": 0,
    }


@pytest.mark.timeout(900)
def test_right_answers_get_all_points_by_the_commands_of_the_guide(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install nbgrader")
    stem = STEMS[0]
    said = [
        obey(ROOT, guide("python tools", **{"~/class": str(tmp_path)})),
        obey(tmp_path, guide("nbgrader generate")),
    ]
    cells = graded(cells_of(tmp_path / "source" / stem / f"{stem}.ipynb"), "solution")
    answers = {cell["metadata"]["nbgrader"]["grade_id"]: cell["source"] for cell in cells}
    hand_in(tmp_path, "student", answers)
    said.append(obey(tmp_path, guide("nbgrader autograde")))
    checks = graded(cells_of(tmp_path / "release" / stem / f"{stem}.ipynb"), "grade")
    possible = sum(check["metadata"]["nbgrader"]["points"] for check in checks)
    told = "".join(one.stderr[-3000:] for one in said)
    assert points_of(tmp_path, stem).get("student") == possible > 0, told
