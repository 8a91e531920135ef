"""Score rankings, compare systems, look for leaks: every result says by which protocol it came about."""

from .compare import Comparison, compare
from .evaluate import DEFAULT, Evaluation, evaluate
from .leaks import check_leaks, difference_hash
from .survey import Survey, survey

__all__ = [
    "DEFAULT",
    "Comparison",
    "Evaluation",
    "Survey",
    "check_leaks",
    "compare",
    "difference_hash",
    "evaluate",
    "survey",
]
