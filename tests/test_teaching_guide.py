"""The instructor's guide lists every exercise that there is, and every check knows what goes wrong."""

import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import course
import teaching_guide

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
EXERCISES = [(path.stem, *one) for path in NOTEBOOKS for one in teaching_guide.exercises(path)]
# judged by their result
OPEN = {
    "better_alignment",
    "better_choice",
    "better_feedback",
    "better_map",
    "better_probe",
    "better_ranking",
    "better_relation",
    "better_vectors",
    "give_back_colour",
    "groups_needed",
    "keep_samples",
    "rare_weights",
    "short_vectors",
    "sixteen_bytes",
}


def test_the_guide_is_up_to_date():
    text = teaching_guide.GUIDE.read_text(encoding="utf-8")
    assert teaching_guide.guide(text) == text, "run `python tools/teaching_guide.py`"


@pytest.mark.parametrize(
    ("function", "check"), [(e[1], e[4]) for e in EXERCISES], ids=[e[1] for e in EXERCISES]
)
def test_a_check_names_at_least_three_wrong_answers(function, check):
    assert function in OPEN or len(set(teaching_guide.named_mistakes(check))) >= 3


def test_plans_name_notebooks_of_the_course():
    plans = teaching_guide.GUIDE.read_text(encoding="utf-8").split("## The exercises")[0]
    weeks = re.findall(r"^\| \d+ \| (\d\d) \|", plans, re.MULTILINE)
    assert len(weeks) >= 10 and set(weeks) <= {lesson.number for lesson in course.COURSE}
