"""Score rankings, compare systems, look for leaks: every result says by which protocol it came about."""

from .evaluate import Comparison, Evaluation, compare, evaluate
from .survey import Survey, check_leaks, survey

__all__ = ["Comparison", "Evaluation", "Survey", "check_leaks", "compare", "evaluate", "survey"]
