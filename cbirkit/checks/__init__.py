"""Checks of the exercises: each takes the learner's function and says passed, not yet and why, or not attempted.

The last line of an exercise's cell is ``checks.check_precision_at_k(precision_at_k)``. A check never raises for a
wrong answer, so that Run All goes on; `Verdict.passed` says whether the answer was right.
"""

from cbirkit.checks._run import Case, Mistake, Verdict, run_check
from cbirkit.checks.local_features import check_ransac_step, check_root_sift, check_tf_idf
from cbirkit.checks.measuring_protocol import check_bootstrap_interval, check_counted_results
from cbirkit.checks.measuring_retrieval import check_average_precision, check_mended_average_precision
from cbirkit.checks.start_here import check_leave_query_out, check_precision_at_k, check_tiled_histogram

__all__ = [
    "Case",
    "Mistake",
    "Verdict",
    "check_average_precision",
    "check_bootstrap_interval",
    "check_counted_results",
    "check_leave_query_out",
    "check_mended_average_precision",
    "check_precision_at_k",
    "check_ransac_step",
    "check_root_sift",
    "check_tf_idf",
    "check_tiled_histogram",
    "run_check",
]
