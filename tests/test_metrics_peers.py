"""Metrics beside other packages: they agree where definitions do; where they differ, a test says how."""

import math

import numpy as np
import pytest

from cbirkit import metrics
from cbirkit.metrics import average_precision, average_precision_at_k, expected_average_precision


@pytest.fixture(scope="module")
def scores():
    """Scores and relevance of 30 queries over 80 items, every query with a positive, no ties."""
    rng = np.random.RandomState(7)
    relevant = rng.rand(30, 80) < 0.1
    relevant[:, 5] = True
    return rng.rand(30, 80) + 0.3 * relevant, relevant


def test_agrees_with_scikit_learn(scores):
    from sklearn.metrics import average_precision_score, ndcg_score

    values, relevant = scores
    order = np.argsort(-values, axis=1)
    in_order = np.take_along_axis(relevant, order, axis=1)
    expected = [average_precision_score(r, v) for r, v in zip(relevant, values, strict=True)]
    assert average_precision(in_order) == pytest.approx(expected, abs=1e-9)
    gains = relevant * np.random.RandomState(0).randint(1, 4, relevant.shape)
    in_order = np.take_along_axis(gains, order, axis=1)
    for k in (5, 80):  # scikit-learn's gains are linear
        expected = [ndcg_score(g[None], v[None], k=k) for g, v in zip(gains, values, strict=True)]
        assert metrics.ndcg_at_k(in_order, k, gain="linear") == pytest.approx(expected, abs=1e-9)
        assert metrics.ndcg_at_k(in_order, k) != pytest.approx(expected, abs=1e-3)


def test_differs_from_scikit_learn_on_ties():
    """scikit-learn counts a tie as one threshold: every positive in it gets the precision at its end."""
    from sklearn.metrics import average_precision_score, ndcg_score

    distances, relevant = np.repeat([0, 1, 2], [2, 3, 4]), np.array([1, 0, 1, 0, 0, 1, 1, 0, 0])
    theirs = average_precision_score(relevant, -distances)
    assert theirs == pytest.approx((1 / 2 + 2 / 5 + 2 * 4 / 9) / 4)
    expected, worst, _ = expected_average_precision(distances, relevant)
    assert theirs < expected and theirs != pytest.approx(worst, abs=1e-3)
    tie_averaged = ndcg_score(
        [[1, 0, 0]], [[1, 1, 1]]
    )  # its nDCG averages over ties; ours takes the order given
    assert tie_averaged != pytest.approx(metrics.ndcg_at_k([1, 0, 0]))


def test_agrees_with_torchmetrics(scores):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.retrieval")
    values, relevant = scores
    in_order = np.take_along_axis(relevant, np.argsort(-values, axis=1), axis=1)
    pairs = [
        (average_precision, functional.retrieval_average_precision, {}),
        (
            lambda r: average_precision_at_k(r, 10, normalize="hits"),
            functional.retrieval_average_precision,
            {"top_k": 10},
        ),
        (lambda r: metrics.precision_at_k(r, 10), functional.retrieval_precision, {"top_k": 10}),
        (lambda r: metrics.recall_at_k(r, 10), functional.retrieval_recall, {"top_k": 10}),
        (lambda r: metrics.hit_rate_at_k(r, 3), functional.retrieval_hit_rate, {"top_k": 3}),
        (metrics.r_precision, functional.retrieval_r_precision, {}),
        (lambda r: 1 / metrics.first_positive_rank(r), functional.retrieval_reciprocal_rank, {}),
        (lambda r: metrics.ndcg_at_k(r, 10), functional.retrieval_normalized_dcg, {"top_k": 10}),
    ]
    for ours, theirs, options in pairs:
        rows = zip(values, relevant, strict=True)
        expected = [theirs(torch.tensor(v), torch.tensor(r), **options).item() for v, r in rows]
        got = np.nan_to_num(ours(in_order))  # AP@10 without a hit: 0 in both
        assert got == pytest.approx(expected, abs=1e-5)


def test_differs_from_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.retrieval")
    target = torch.tensor([True, False, True])
    # 1. it takes scores, larger is nearer, and drops positives whose score is <= 0: negated distances fail
    assert functional.retrieval_average_precision(torch.tensor([-0.1, -0.2, -0.3]), target) == 0
    assert average_precision(target.numpy()) == pytest.approx(5 / 6)
    # 2. it divides AP@k by the hits in the first k, and so do its users' "mAP@k"
    short = functional.retrieval_average_precision(torch.tensor([0.9, 0.8, 0.7]), target, top_k=1)
    assert short == 1 and average_precision_at_k(target.numpy(), 1) == 1
    assert (
        average_precision_at_k(target.numpy(), 2)
        == 0.5
        != average_precision_at_k(target.numpy(), 2, None, "hits")
    )
    # 3. a query without positives is 0, which lowers the mean; ours is NaN and left out
    nothing = torch.zeros(3, dtype=torch.bool)
    assert functional.retrieval_average_precision(torch.tensor([0.9, 0.8, 0.7]), nothing) == 0
    assert math.isnan(average_precision(nothing.numpy()))
    # 4. its nDCG has linear gains only
    gains = torch.tensor([3, 2, 0, 1, 2])
    theirs = functional.retrieval_normalized_dcg(
        torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]), gains
    ).item()
    assert theirs == pytest.approx(metrics.ndcg_at_k(gains.numpy(), gain="linear"), abs=1e-6)


def accuracy_calculator(distances, query_labels, database_labels, k):
    """pytorch-metric-learning on a ranking that is there already."""
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    order = torch.tensor(np.argsort(distances, axis=1, kind="stable"))

    def search(query, num_k, reference, ref_includes_query):
        return None, order[:, :num_k]

    names = (
        "precision_at_1",
        "r_precision",
        "mean_average_precision",
        "mean_average_precision_at_r",
    )
    calculator = module.AccuracyCalculator(
        include=names, k=k, knn_func=search, device=torch.device("cpu")
    )
    empty = [torch.zeros(len(labels), 1) for labels in (query_labels, database_labels)]
    return calculator.get_accuracy(
        empty[0],
        torch.tensor(query_labels),
        empty[1],
        torch.tensor(database_labels),
        ref_includes_query=False,
    )


def test_agrees_with_pytorch_metric_learning():
    rng = np.random.RandomState(3)
    query_labels, database_labels = (
        rng.randint(0, 5, 20),
        rng.randint(0, 4, 90),
    )  # label 4: queries without positives
    distances = rng.rand(20, 90)
    relevant = (database_labels == query_labels[:, None])[
        np.arange(20)[:, None], np.argsort(distances, axis=1)
    ]
    n_positives = relevant.sum(axis=1)
    theirs = accuracy_calculator(distances, query_labels, database_labels, 90)
    assert (n_positives == 0).any()  # both leave them out
    for name, values in {
        "precision_at_1": metrics.precision_at_k(relevant, 1, n_positives),
        "r_precision": metrics.r_precision(relevant, n_positives),
        "mean_average_precision": average_precision(relevant, n_positives),
        "mean_average_precision_at_r": metrics.map_at_r(relevant, n_positives),
    }.items():
        assert np.nanmean(values) == pytest.approx(theirs[name], abs=1e-9), name
    # cut at k = 10 it still divides AP by R: our normalize="R", not our default
    theirs = accuracy_calculator(distances, query_labels, database_labels, 10)
    cut = np.nanmean(average_precision_at_k(relevant, 10, n_positives, "R"))
    assert cut == pytest.approx(theirs["mean_average_precision"], abs=1e-9)
    # ... but divides R-precision by min(k, R), as it warns: a shallow search looks better than it is
    shallow = relevant[:, :10].sum(axis=1)[n_positives > 0] / np.minimum(
        10, n_positives[n_positives > 0]
    )
    assert theirs["r_precision"] == pytest.approx(shallow.mean(), abs=1e-9)
    assert np.nanmean(metrics.r_precision(relevant[:, :10], n_positives)) < theirs["r_precision"]
