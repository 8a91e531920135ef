"""Revisited Oxford and Paris: numbers of the official evaluation code on four deterministic rankings.

The ground truth is Radenovic et al., Revisiting Oxford and Paris, CVPR 2018 (arXiv:1803.11285); the numbers
were made with its unmodified evaluate.py. Officially: junk is deleted, AP is trapezoid, and P@k is the hits
divided by min(k, rank of the last positive), not by k.
"""

import json
import pickle

import numpy as np
import pytest

from cbirkit import Ranking, Relevance, evaluate

BONUS = {
    "random": (0, 0, 0),
    "biased": (0.9, 0.45, 0.3),
    "weak": (0.35, 0.15, 0.1),
    "perfect": (2, 2, -2),
}
PROTOCOLS = {  # what counts, what is junk
    "E": (("easy",), ("junk", "hard")),
    "M": (("easy", "hard"), ("junk",)),
    "H": (("hard",), ("junk", "easy")),
}
CUTOFFS = (1, 5, 10)


class DataOnly(pickle.Unpickler):
    """The files are plain lists, dicts, strings and numbers: what names a class or function is refused."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"refused {module}.{name}")


def test_the_unpickler_refuses_classes(tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(np.float64))
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError, match="refused"):
        DataOnly(file).load()


@pytest.fixture(scope="module", params=["roxford5k", "rparis6k"])
def benchmark(request, realdata):
    folder = realdata / "h_revisitop"
    if not folder.is_dir():
        pytest.skip("no ground truth of revisited Oxford and Paris")
    with (folder / f"gnd_{request.param}.pkl").open("rb") as file:
        truth = DataOnly(file).load()
    return truth, json.loads((folder / "reference_numbers.json").read_text())[request.param]


def rank(truth, case):
    """The recipe of the reference numbers: random scores plus a bonus for easy, hard and junk."""
    scores = np.random.RandomState(0).rand(len(truth["imlist"]), len(truth["gnd"]))
    for query, known in enumerate(truth["gnd"]):
        for kind, bonus in zip(("easy", "hard", "junk"), BONUS[case], strict=True):
            scores[known[kind], query] += bonus
    return Ranking.from_distances(-scores.T, truth["qimlist"], truth["imlist"])


def judge(truth, protocol):
    positives, junk = (
        [
            np.concatenate([np.array(known[kind], dtype=int) for kind in kinds])
            for known in truth["gnd"]
        ]
        for kinds in PROTOCOLS[protocol]
    )
    return Relevance.from_sets(truth["qimlist"], truth["imlist"], positives, junk)


@pytest.mark.parametrize("case", BONUS)
def test_official_numbers(benchmark, case):
    truth, reference = benchmark
    ranking = rank(truth, case)
    names = [
        "trapezoid_map",
        "map",
        *(f"p@{k}/last" for k in CUTOFFS),
        *(f"p@{k}" for k in CUTOFFS),
    ]
    for protocol, expected in reference["cases"][case].items():
        relevance = judge(truth, protocol)
        result = evaluate(ranking, relevance, metrics=names, n_bootstrap=0)
        assert 100 * result["trapezoid_map"] == pytest.approx(expected["mAP"], abs=1e-6)
        official = [100 * result[f"p@{k}/last"] for k in CUTOFFS]
        assert official == pytest.approx(expected["mP@1,5,10"], abs=1e-6)
        per_query = result.per_query["trapezoid_map"].dropna().to_numpy()
        assert per_query[:5] == pytest.approx(expected["AP_first5"], abs=1e-6)
        skipped = reference["queries_without_easy"] if protocol == "E" else 0
        assert result.summary.n_skipped.tolist() == [skipped] * len(names)
        assert f"{70 - skipped} scored, {skipped} skipped" in result.protocol
        # the step estimator and division by k are other definitions, with other numbers
        if case == "weak":
            assert abs(result["map"] - result["trapezoid_map"]) > 1e-4
        assert all(result[f"p@{k}"] <= result[f"p@{k}/last"] + 1e-12 for k in CUTOFFS)


def test_division_by_k_differs_where_a_query_has_few_positives(benchmark):
    truth, _ = benchmark
    relevance = judge(truth, "E")
    fewest = relevance.n_positives[relevance.n_positives > 0].min()
    result = evaluate(
        rank(truth, "perfect"), relevance, metrics=["p@10", "p@10/last"], n_bootstrap=0
    )
    assert result["p@10/last"] == 1
    assert (result["p@10"] < 1) == (fewest < 10)


def test_junk_that_is_not_deleted_lowers_the_score(benchmark):
    truth, _ = benchmark
    ranking = rank(truth, "biased")
    positives = judge(truth, "H")
    as_wrong = [known["hard"] for known in truth["gnd"]]
    as_wrong = Relevance.from_sets(truth["qimlist"], truth["imlist"], as_wrong)
    names = ["trapezoid_map"]
    proper, careless = (
        evaluate(ranking, r, metrics=names, n_bootstrap=0)[names[0]] for r in (positives, as_wrong)
    )
    assert careless < proper - 0.05
