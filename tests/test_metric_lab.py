"""The Metric Lab: its numbers are those of `cbirkit.metrics`, its arithmetic adds up, its events are guarded."""

import itertools
import json
import math
from functools import partial

import numpy as np
import pytest

from cbirkit import Ranking, Relevance, evaluate, metrics
from cbirkit.explore.metric_lab import JUNK, PRESETS, SHOWN, Listing, MetricLab, arithmetic, row
from cbirkit.metrics import ranked
from cbirkit.plots import alt_text

GOLDEN = {  # of protocols.md: preset, metric, value
    ("hits at 2, 4 and 8", "map"): 0.458333,
    ("hits at 2, 4 and 8", "trapezoid_map"): 0.332341,
    ("2 found of 20", "map@10/hits"): 0.75,
    ("2 found of 20", "map@10"): 0.15,
    ("2 found of 20", "map@10/R"): 0.075,
    ("finds 1 of 3", "map@4/hits"): 1.0,
    ("finds 3 of 3", "map@4/hits"): 0.916667,
    ("MAP@R, R = 4", "map@r"): 0.604167,
    ("MAP@R, R = 4", "r_precision"): 0.75,
    ("graded", "ndcg@5"): 0.968638,
    ("graded", "ndcg_linear@5"): 0.960247,
    ("ties of 2, 3 and 4", "expected_map"): 0.552927,
    ("ties of 2, 3 and 4", "worst_map"): 0.429861,
    ("ties of 2, 3 and 4", "best_map"): 0.684524,
    ("ties of 1, 3 and 3", "expected_map"): 0.503175,
    ("ties of 1, 3 and 3", "worst_map"): 0.420635,
    ("ties of 1, 3 and 3", "best_map"): 0.588889,
    ("one tie of 8", "expected_map"): 0.528380,
    ("one tie of 8", "worst_map"): 0.275794,
    ("one tie of 8", "best_map"): 1.0,
    ("the query left in", "ukbench"): 3.0,
}


def random_listings(n=150):
    random = np.random.RandomState(0)
    for _ in range(n):
        length = random.randint(1, 13)
        items = random.choice([-1, 0, 0, 1, 1, 2, 3], length)
        ties = random.rand(max(length - 1, 0)) < random.rand()
        yield Listing(items, ties, int(random.choice([0, 0, 1, 3, 30])), int(random.randint(1, 15)))


@pytest.mark.parametrize(("preset", "metric"), GOLDEN)
def test_the_presets_are_the_golden_examples(preset, metric):
    lab = MetricLab(preset=preset)
    assert lab[metric] == pytest.approx(GOLDEN[preset, metric], abs=1e-6)
    assert lab.table.loc[metric, "value"] == pytest.approx(GOLDEN[preset, metric], abs=1e-6)


WITH_TERMS = [metric for metric in SHOWN if metric.terms or metric.takes == "gains"]


@pytest.mark.parametrize("metric", WITH_TERMS, ids=lambda metric: metric.title)
def test_the_line_of_arithmetic_gives_the_value(metric):
    defined = 0
    for listing in random_listings():
        shown = row(metric, listing)
        if shown["value"] is None:
            assert shown["line"].startswith("not defined: ")
            continue
        defined += 1
        formula = arithmetic(metric.at(listing.k), listing)[1]
        value = eval(formula, {"log2": math.log2, "inf": math.inf})
        assert value == pytest.approx(shown["value"], abs=1e-9), (listing, formula)
        assert len(shown["terms"]) == len(listing.relevant)
        if metric.name != "first_rank" and metric.takes != "gains":
            terms = sum(eval(term) for term in shown["terms"] if term)
            assert (terms == 0) == (shown["value"] == 0)
    assert defined > 10


def test_expected_is_the_mean_over_all_orders_within_ties():
    listing = Listing((1, 0, 1, 0, 0, 1), (True, False, True, True, False), missing=1)
    orders = itertools.product(
        *(itertools.permutations(group) for group in ([1, 0], [1, 0, 0], [1]))
    )
    scores = [metrics.average_precision(sum(order, ()), 4) for order in orders]
    lab = MetricLab(listing.items, ties=listing.ties, missing=1)
    assert lab["expected_map"] == pytest.approx(np.mean(scores))
    assert lab["worst_map"] == pytest.approx(min(scores)) and lab["best_map"] == pytest.approx(
        max(scores)
    )


def test_junk_is_deleted_before_ranks_are_counted():
    with_junk, without = MetricLab([JUNK, 1, 0, JUNK, 1]), MetricLab([1, 0, 1])
    assert with_junk.table["value"].equals(without.table["value"])
    assert [item["rank"] for item in with_junk._list.items] == [
        "no rank",
        "rank 1",
        "rank 2",
        "no rank",
        "rank 3",
    ]


def test_a_tie_reaches_across_junk():
    assert Listing((1, JUNK, 0), (True, True)).distances.tolist() == [1, 1]
    assert Listing((1, JUNK, 0), (True, False)).distances.tolist() == [1, 2]


def pressed(lab):
    """Names of the numbers that are set off."""
    tables = [widget.table for widget in lab._tables.values()]
    return [one["rows"][one["pressed"]][0] for one in tables if one["pressed"] >= 0]


def test_clicks_cycle_and_keys_judge():
    lab = MetricLab([1, 0])
    seen = []
    for _ in range(4):
        lab._list.receive({"event": "cycle", "at": 0})
        seen.append(lab.items[0])
    assert seen == [0, JUNK, 1, 0]
    lab._graded.value = True
    for _ in range(5):
        lab._list.receive({"event": "cycle", "at": 0})
        seen.append(lab.items[0])
    assert seen[4:] == [1, 2, 3, JUNK, 0]
    lab._list.receive({"event": "judge", "at": 1, "value": 3})
    assert lab.items == [0, 3] and lab._list.items[1]["word"] == "gain 3"
    lab._graded.value = False
    assert lab.items == [0, 1]
    lab._list.receive({"event": "judge", "at": 1, "value": 3})
    assert lab.items == [0, 3] and lab._graded.value


def test_ties_length_missing_and_k_are_set():
    lab = MetricLab([1, 0, 1], k=2)
    lab._list.receive({"event": "tie", "at": 0})
    assert [item["gap"] for item in lab._list.items] == [True, False, None]
    lab._fields["length"].value = 5
    assert lab.items == [1, 0, 1, 0, 0]
    assert [item["gap"] for item in lab._list.items] == [True, False, False, False, None]
    lab._fields["length"].value = 1
    assert lab.items == [1] and lab._list.items[0]["gap"] is None
    lab._fields["missing"].value = 3
    assert lab["map"] == 0.25
    lab._fields["k"].value = 4
    names = [row[0] for widget in lab._tables.values() for row in widget.table["rows"]]
    assert lab["p@4"] == 0.25 and names[2] == "AP@4"
    assert not lab._status.problem and lab._example.value == ""


def test_a_chosen_metric_stays_chosen_when_k_changes():
    lab = MetricLab(metric="p@5")
    lab._fields["k"].value = 3
    assert pressed(lab) == ["P@3"] and lab._status.text.startswith("P@3: ")
    next(iter(lab._tables.values())).receive({"event": "pick", "row": 0})
    assert pressed(lab) == ["AP"] and lab._status.text.startswith("AP: ")
    lab._example.value = "graded"
    assert lab._graded.value and lab.items == [3, 2, 0, 1, 2]
    assert lab._note.value == PRESETS["graded"][2]
    lab._example.value = ""  # what is shown stays
    assert lab.items == [3, 2, 0, 1, 2] and not lab._status.problem


def test_every_number_can_be_picked():
    lab = MetricLab([1, 0, 1, 1], missing=1)
    for name, metric in enumerate(SHOWN):
        rows = [one for one in SHOWN if one.group == metric.group]
        lab._tables[metric.group].receive({"event": "pick", "row": rows.index(metric)})
        line = row(metric, lab._listing)
        assert lab._status.text == f"{line['name']}: {line['line']}", name
        assert pressed(lab) == [line["name"]]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"event": "cycle", "at": 99}, "position"),
        ({"event": "cycle", "at": -1}, "position"),
        ({"event": "tie", "at": 7}, "position"),
        ({"event": "judge", "at": 0, "value": 7}, "gain of 1 to 3"),
        ({"event": "judge", "at": 0}, "int"),
        ({"event": "cycle"}, "at"),
        ({}, "not known"),
        ("text", "not known"),
    ],
)
def test_a_message_that_makes_no_sense_changes_nothing_and_is_told(message, words):
    lab = MetricLab()
    before = lab.items, dict(vars(lab._listing)), lab._example.value
    lab._list.receive(message)
    assert (lab.items, lab._example.value) == (before[0], before[2])
    assert all(lab._listing.__dict__[name] is value for name, value in before[1].items())
    assert words in lab._status.text and lab._status.problem
    lab._list.receive({"event": "cycle", "at": 0})
    assert not lab._status.problem


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"items": [1] * 21}, "1 to 20 results"),
        ({"k": None}, "whole number"),
        ({"k": 0}, "k must be"),
        ({"missing": -1}, "missing must be"),
        ({"missing": 10**9}, "missing must be"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(parts, words):
    lab = MetricLab()
    before = lab.items, lab._status.text
    with pytest.raises(ValueError, match=words):
        lab.change(**parts)
    assert (lab.items, lab._status.text) == before


@pytest.mark.parametrize(
    ("name", "value", "least"), [("length", 0, 1), ("k", -3, 1), ("missing", -1, 0)]
)
def test_a_number_that_is_entered_stays_within_bounds(name, value, least):
    lab = MetricLab()
    lab._fields[name].value = value
    assert lab._fields[name].value == least and not lab._status.problem


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"items": []}, "1 to 20 results"),
        ({"items": [5]}, "gain of 1 to 3"),
        ({"items": [1, 0], "ties": [True, True]}, "1 gaps, got 2"),
        ({"items": [1], "missing": -2}, "missing"),
        ({"items": [1], "k": 0}, "k must be"),
        ({"items": [1], "metric": "auc"}, "metric must be .* got 'auc'"),
        ({"preset": "auc"}, "preset must be .* got 'auc'"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        MetricLab(**arguments)


def test_what_is_not_defined_says_why():
    lab = MetricLab([0, 0])
    assert math.isnan(lab["map"]) and "no positives" in lab.explain("map")
    assert "R = 4" in MetricLab([1, 0]).explain("ukbench")
    assert "nothing is left" in MetricLab([JUNK], missing=1).explain("map")
    assert MetricLab([0], missing=1).explain("first_rank") == "inf = none found"


def test_all_that_is_sent_is_json():
    for listing in random_listings(40):
        lab = MetricLab(listing.items, ties=listing.ties, missing=listing.missing, k=listing.k)
        shown = [lab._list.items, *(widget.table for widget in lab._tables.values())]
        json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_static_is_a_picture_with_a_description(preset):
    figure = MetricLab(preset=preset).static()
    text = alt_text(figure)
    assert "AP" in text and "relevant" in text or "gain" in text
    figure.canvas.draw()
    inside = figure.axes[0].get_window_extent()
    for artist in figure.axes[0].texts:
        box = artist.get_window_extent()
        assert box.x1 <= inside.x1 + 1 and box.y0 >= inside.y0 - 1, artist.get_text()


def test_the_widget_carries_a_picture_for_readers_without_a_kernel():
    data, metadata = MetricLab()._repr_mimebundle_()
    assert "image/png" in data and "application/vnd.jupyter.widget-view+json" in data
    assert "Metric Lab" in metadata["image/png"]["alt"]


def test_a_metric_is_one_function_and_one_line(monkeypatch):
    def reciprocal_rank(relevant, n_positives=None):
        return 1 / metrics.first_positive_rank(relevant, n_positives)

    line = ranked.Metric(
        "mrr", "MRR", "1 / rank of the first hit", reciprocal_rank, "of the first k", "first"
    )
    monkeypatch.setattr(ranked, "METRICS", (*ranked.METRICS, line))
    ranking = Ranking.from_distances([[0.1, 0.2, 0.3]])
    relevance = Relevance.from_labels(None, None, ["x"], ["y", "x", "x"])
    found = evaluate(ranking, relevance, metrics=["mrr"])
    assert found["mrr"] == 0.5 and "mrr: 1 / rank of the first hit" in found.protocol
    shown = row(line, Listing((0, 1, 1)))
    assert (shown["shown"], shown["line"]) == ("0.500", "1 / rank of the first hit = 0.500000")
    first_three = partial(metrics.precision_at_k, k=3)
    line = ranked.Metric("p3", "P@3", "hits / 3", first_three, "of the first k", 3, "chances", 3)
    shown = row(line, Listing((0, 1, 1, 1)))
    assert (shown["line"], shown["terms"]) == ("2 / 3 = 0.666667", ["", "1", "1", ""])
