"""Checks of the exercises: each takes the learner's function and says passed, not yet and why, or not attempted.

The last line of an exercise's cell is ``checks.check_precision_at_k(precision_at_k)``. A check never raises for a
wrong answer, so that Run All goes on; `Verdict.passed` says whether the answer was right. `grade` is what an
assignment's locked cell calls.
"""
# ruff: noqa: F401  (the checks are named in __all__ by what their names begin with)

from cbirkit.checks._grade import DEMONSTRATION, RECORD, grade, verdict_on
from cbirkit.checks._run import Case, Mistake, Verdict, run_check
from cbirkit.checks.adversarial import check_mended_attack, check_pgd_step, check_robust_recall
from cbirkit.checks.approximate_search import check_choose_nprobe, check_neighbour_recall
from cbirkit.checks.cnn_features import check_seen_pixels, check_stable_gem
from cbirkit.checks.cnn_weights import check_crow, check_whitened_cosines
from cbirkit.checks.domain_fine_tuning import (
    check_choose_alpha,
    check_class_split,
    check_which_learn,
)
from cbirkit.checks.graph_search import check_graph_search
from cbirkit.checks.hashing import (
    check_best_rotation,
    check_hamming_distances,
    check_precision_in_radius,
)
from cbirkit.checks.local_features import check_ransac_step, check_root_sift, check_tf_idf
from cbirkit.checks.measuring_protocol import check_bootstrap_interval, check_counted_results
from cbirkit.checks.measuring_retrieval import (
    check_average_precision,
    check_mended_average_precision,
)
from cbirkit.checks.metric_learning import check_map_at_r, check_semi_hard, check_triplet_gradient
from cbirkit.checks.objects import check_image_distances, check_masked_pooling, check_suppressed
from cbirkit.checks.own_data import check_copy_groups, check_mean_over_classes
from cbirkit.checks.start_here import (
    check_leave_query_out,
    check_precision_at_k,
    check_tiled_histogram,
)
from cbirkit.checks.transfer_learning import (
    check_better_probe,
    check_choose_strength,
    check_nearest_class_mean,
)

__all__ = [
    "DEMONSTRATION",
    "RECORD",
    "Case",
    "Mistake",
    "Verdict",
    "grade",
    "run_check",
    "verdict_on",
]
__all__ += [name for name in globals() if name.startswith("check_")]
