"""Checks of the exercises: each takes the learner's function and says passed, not yet and why, or not attempted.

The last line of an exercise's cell is ``checks.check_precision_at_k(precision_at_k)``. A check never raises for a
wrong answer, so that Run All goes on; `Verdict.passed` says whether the answer was right. `first_written` draws the
picture under an exercise with the learner's own function. `grade` is what an assignment's locked cell calls.
"""
# ruff: noqa: F401  (the checks are named in __all__ by what their names begin with)

from .active_learning import check_better_choice, check_confident_errors, check_least_margins
from .adversarial import (
    check_mended_attack,
    check_pgd_step,
    check_robust_recall,
    check_signs_backward,
)
from .approximate_search import check_choose_nprobe, check_filtered_search, check_graph_search
from .attention import check_attention_pooling, check_pointing, check_rare_weights
from .cnn_features import (
    check_better_vectors,
    check_seen_pixels,
    check_stable_gem,
    check_whitened_cosines,
)
from .context_and_scenes import (
    check_better_relation,
    check_between_score,
    check_reciprocal_sets,
    check_without_place,
)
from .cross_domain import (
    check_better_alignment,
    check_coral_distance,
    check_reciprocal_rank_across,
)
from .domain_fine_tuning import (
    check_choose_alpha,
    check_class_split,
    check_which_learn,
)
from .explain import check_deletion_score, check_occlusion_map, check_pointing_game
from .feedback import check_better_feedback, check_frozen_ranking, check_ide_dec_hi
from .generative import check_copying_score, check_keep_samples, check_sample_coverage
from .grading import DEMONSTRATION, RECORD, grade, points, verdict_on
from .hashing import (
    check_best_rotation,
    check_cut,
    check_hamming_distances,
    check_precision_in_radius,
    check_quantised,
    check_sixteen_bytes,
)
from .incremental import check_better_map, check_forgetting, check_herded, check_upgrade_map
from .local_features import (
    check_ransac_step,
    check_root_sift,
    check_short_vectors,
    check_tf_idf,
)
from .measuring_retrieval import (
    check_bootstrap_interval,
    check_groups_needed,
    check_mended_average_precision,
)
from .metric_learning import check_map_at_r, check_semi_hard, check_triplet_gradient
from .multi_scale import (
    check_choose_scales,
    check_hierarchical_precision,
    check_image_pyramid,
    check_mismatch_cost,
)
from .objects import check_masked_pooling, check_suppressed
from .own_data import check_copy_groups, check_mean_over_classes
from .running import Verdict, first_written, run_check
from .self_supervised import (
    check_effective_rank,
    check_give_back_colour,
    check_masked_nt_xent,
)
from .start_here import (
    check_leave_query_out,
    check_precision_at_k,
    check_tiled_histogram,
)
from .text_and_images import check_harris_fusion, check_mil_nce
from .transfer_learning import (
    check_better_probe,
    check_choose_strength,
    check_nearest_class_mean,
)
from .transformers_and_graphs import (
    check_attend,
    check_better_ranking,
    check_max_sim_of_any,
    check_propagate,
)

__all__ = [
    "DEMONSTRATION",
    "RECORD",
    "Case",
    "Mistake",
    "Verdict",
    "first_written",
    "grade",
    "points",
    "run_check",
    "verdict_on",
]
__all__ += [name for name in globals() if name.startswith("check_")]
