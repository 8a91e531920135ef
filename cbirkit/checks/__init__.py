"""Checks of the exercises: each takes the learner's function and says passed, not yet and why, or not attempted.

The last line of an exercise's cell is ``checks.check_precision_at_k(precision_at_k)``. A check never raises for a
wrong answer, so that Run All goes on; `Verdict.passed` says whether the answer was right.
"""

from cbirkit.checks._run import Case, Mistake, Verdict, run_check
from cbirkit.checks.start_here import check_leave_query_out, check_precision_at_k, check_tiled_histogram

__all__ = [
    "Case",
    "Mistake",
    "Verdict",
    "check_leave_query_out",
    "check_precision_at_k",
    "check_tiled_histogram",
    "run_check",
]
