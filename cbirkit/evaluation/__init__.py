"""Score rankings, compare systems, look for leaks: every result says by which protocol it came about."""

from .evaluate import DEFAULT, Comparison, Evaluation, compare, evaluate
from .survey import Survey, check_leaks, difference_hash, survey

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
