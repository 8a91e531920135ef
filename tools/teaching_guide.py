"""Write the table of exercises into `docs/teaching.md`: what each teaches, how long it takes, what goes wrong.

    python tools/teaching_guide.py

Stars come from the notebooks, typical wrong answers from the checks (those that they name), the rest from `TEACHES`. A test compares.
"""

import json
import re
from pathlib import Path
from unittest import mock

import course

from cbirkit import checks

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "teaching.md"
MINUTES = {1: 10, 2: 20, 3: 40}  # by stars, for someone who knows NumPy
SHOWN = 3  # wrong answers a row
TEACHES = {
    "precision_at_k": "what a cut-off is; missing results are misses",
    "leave_query_out": "a query that finds itself flatters every score; compare ids, not places",
    "tiled_histogram": "an encoder from pixels to vector: binning, layout, normalisation, uint8",
    "mended_average_precision": "reading somebody else's metric; tests by hand on small lists",
    "bootstrap_interval": "how sure a mean is where queries come in groups: draw groups whole, weigh queries equally",
    "groups_needed": "the size of a test set, from a pilot and the gain that matters; open, judged by its result",
    "root_sift": "a change of metric in three lines",
    "tf_idf": "weights of rare and frequent words; rows of zeros",
    "ransac_step": "homogeneous coordinates; what an inlier is",
    "short_vectors": "how to spend a fixed length: shorter descriptors, more words; open, judged by its result",
    "seen_pixels": "receptive fields, walked backwards",
    "stable_gem": "pooling between average and maximum; floating point that overflows",
    "whitened_cosines": "what may be learned from which images",
    "better_vectors": "pooling, centring and layers together, for two questions at once; open, judged by its result",
    "image_pyramid": "half the size without aliasing; bytes that overflow",
    "mismatch_cost": "telling a mismatch from being small: the diagonal is the control",
    "hierarchical_precision": "graded mistakes, against the best possible order",
    "choose_scales": "a choice under a budget, by categories; open, defended with an interval",
    "nearest_class_mean": "the classifier between neighbours and probe; cosine against length",
    "choose_strength": "tuning without the test set, by leaving one out",
    "better_probe": "encoders that err differently help one another; open, judged by its result",
    "class_split": "splits by class, not by image",
    "which_learn": "names of parameters; freezing",
    "choose_alpha": "a choice under a limit, on validation data",
    "map_at_r": "the score of metric learning, and why it stops at R",
    "semi_hard": "which triplets teach; masks in three dimensions",
    "triplet_gradient": "what pulls and what pushes, by hand",
    "masked_nt_xent": "a softmax over others, without false negatives; sums of exponentials that do not overflow",
    "effective_rank": "singular values and their entropy: collapse that a deviation does not show",
    "give_back_colour": "joining embeddings that ignore different things: centring and lengths of parts; open, judged by its result",
    "attention_pooling": "scores, weights, a weighted mean; softplus that does not overflow; padding",
    "pointing": "a score for where a map looks: ties, empty masks, centres of cells",
    "rare_weights": "saliency without training; when the mean is a bad background; open, judged by its result",
    "max_sim_of_any": "late interaction with images of any number of tokens; maxima per group",
    "attend": "softmax with a mask; rows that see nothing, logits that overflow",
    "propagate": "the normalised adjacency; why a restart keeps many steps sharp",
    "better_ranking": "combining smoothing and diffusion, tuned on other classes; open, judged by its result",
    "hamming_distances": "XOR and counting bits; sums that do not fit into a byte",
    "best_rotation": "orthogonal Procrustes, the step of ITQ",
    "precision_in_radius": "balls with nobody inside, and how protocols count them",
    "choose_nprobe": "a setting for a target; recall of neighbours, as a mean over queries",
    "filtered_search": "a filter after the search: what it costs where few are allowed; -1 as an index",
    "graph_search": "the walk behind HNSW: a beam of ef",
    "quantised": "affine quantisation: ranges that hold 0, zero points, clipping, bytes that wrap around",
    "cut": "after a cut, rows are shorter: the order of cutting, scaling and rounding",
    "sixteen_bytes": "directions, ranges and weights under a budget of bytes; open, judged by its result",
    "signs_backward": "BPDA by hand: the chain rule through a smooth stand-in, where an engine stores signs",
    "pgd_step": "a step and two projections: the ball and the picture",
    "mended_attack": "normalised numbers are not pixels",
    "copy_groups": "the first look at a folder: equal contents under other names",
    "mean_over_classes": "a mean in which large classes do not outweigh small ones",
    "masked_pooling": "an average over the cells of a mask, and masks without a cell",
    "suppressed": "many boxes, one thing",
    "without_place": "a mean for each group, looked up row by row; what is left where a group has one member",
    "between_score": "a condition on three regions; both orders, strictness, scenes without an answer",
    "reciprocal_sets": "nearest neighbours that answer, and who may join them; counting with matrices",
    "better_relation": "names that compete for a region; open, judged by its result",
    "mil_nce": "a loss with several right answers: what is added before the logarithm and what after; rows with none; overflow",
    "harris_fusion": "a fusion that is high only where both are; scales per query, rows that are the same everywhere",
    "coral_distance": "what CORAL makes equal; covariances, and what they leave out",
    "reciprocal_rank_across": "in a mixed gallery, ranks count the other domain only",
    "better_alignment": "what unlabelled neighbours know; open, judged by its result",
    "ide_dec_hi": "a relative of Rocchio's formula; argmax, ties, nothing marked",
    "frozen_ranking": "what people have seen keeps its place: first appearances, several rounds",
    "better_feedback": "what all embeddings share tells nothing; open, judged by its result",
    "least_margins": "uncertainty as a margin; stable ties, labelled images left out before the cut",
    "confident_errors": "label errors from held-out probabilities; a threshold for each class, classes without images",
    "better_choice": "a cold start and uncertainty in one rule; open, judged by its result",
    "forgetting": "two measures from a matrix of scores: which best score counts, which column does not",
    "herded": "a greedy choice whose mean counts, not its members; ties, a budget that is too large",
    "upgrade_map": "orthogonal Procrustes between spaces of other dimensions",
    "better_map": "what a map cannot know and neighbours can; open, judged by its result",
    "pointing_game": "maxima, and ties among them; when there is nothing to point at",
    "occlusion_map": "a mean over windows that overlap: sums and counts",
    "deletion_score": "does the network agree with the map? a curve and its area",
    "sample_coverage": "balls around real pictures: what a generator misses; ties, copies, a k that is too large",
    "copying_score": "is a sample nearer to the training pictures than a real one is? the statistic of Mann and Whitney",
    "keep_samples": "which generated pictures are worth training on; open, judged by its result",
    "robust_recall": "the worst of several attacks, query by query",
}


def exercises(notebook):
    """Function, title, stars and check of each exercise of a notebook."""
    heading, found = None, []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        heading = (re.findall(r"^## Exercise \d+ (★+) (.+)$", source, re.MULTILINE) or [heading])[
            -1
        ]
        if "exercise" in cell["metadata"].get("tags", []):
            check, function = re.search(r"checks\.(check_\w+)\((\w+)\)\s*$", source).groups()
            found.append((function, heading[1], len(heading[0]), check))
    return found


def named_mistakes(check):
    """The sentences with which a check names wrong answers."""
    said = []

    def record(answer, trusted, cases, *, mistakes, **settings):
        said.extend(mistakes)
        return checks.Verdict(trusted.__name__, "passed", "recorded")

    function = getattr(checks, check)
    with mock.patch.dict(function.__globals__, {"run_check": record}):
        if "run_check" in function.__code__.co_names:
            function(lambda *arguments: None)
    return said


def rows():
    """Lines of the table."""
    yield "| notebook | exercise | | minutes | teaches | wrong answers that come up, as the check names them |"
    yield "|---|---|---|---|---|---|"
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for function, title, stars, check in exercises(path):
            wrong = (
                "<br>".join(
                    f"· {sentence}".replace("|", "\\|")
                    for sentence in named_mistakes(check)[:SHOWN]
                )
                or "see its hints"
            )
            yield f"| {path.stem[:2]} | {title} | {'★' * stars} | {MINUTES[stars]} | {TEACHES[function]} | {wrong} |"


def guide(text):
    """The text of the guide with its table up to date."""
    return course.replace_between(text, "exercises", "\n".join(rows()))


if __name__ == "__main__":
    GUIDE.write_text(guide(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
