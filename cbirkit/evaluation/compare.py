"""`compare`: are two systems different on the same queries, or is it chance?"""

import html
import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from ..ranking.ids import positions_of
from .evaluate import choose_metrics, depth_note, describe_rules, format_score, ties_note
from .judge import Judged
from .resample import bootstrap_means, group_codes, holm, interval, sign_flip_test


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    metric : str
    summary : DataFrame, index system
        ``mean``, ``low``, ``high`` (95 % bootstrap interval), ``n_scored``, ``n_skipped``; best system first.
    pairs : DataFrame
        For each pair: ``a``, ``b``, ``difference`` (a minus b), ``low``, ``high`` (95 % paired bootstrap
        interval), ``p`` (paired sign-flip test), ``p_holm`` (corrected for the number of pairs),
        ``a_better``, ``b_better``, ``equal`` (numbers of queries).
    per_query : DataFrame, index query id
        One column for each system.
    protocol : str
    """

    metric: str
    summary: pd.DataFrame
    pairs: pd.DataFrame
    per_query: pd.DataFrame
    protocol: str

    def __repr__(self):
        tables = [
            t.to_string(float_format=format_score, index=named) for t, named in self._tables()
        ]
        return "\n\n".join([*tables, self.protocol])

    def _repr_html_(self):
        tables = [
            t.to_html(float_format=format_score, escape=True, border=0, index=named)
            for t, named in self._tables()
        ]
        lines = "<br>".join(html.escape(line) for line in self.protocol.split("\n"))
        return f"{''.join(tables)}<details open><summary>protocol</summary><small>{lines}</small></details>"

    def _tables(self):
        return [(self.summary, True), (self.pairs, False)]


def compare(
    rankings, relevance, *, metric="map", ties="order", groups=None, n_draws=10_000, random_state=0
):
    """Compare systems on the same queries: paired bootstrap interval, paired permutation test.

    Parameters
    ----------
    rankings : dict of str to Ranking
        At least two, of the same queries in any order. Their databases may differ in order.
    relevance : Relevance
    metric : str, default="map"
    ties : {"order", "expected"}
        As `evaluate` takes them.
    groups : array-like of shape (n_queries,), optional
        In the order of the first ranking's queries: queries of one group are drawn, and change sign,
        together.
    n_draws : int, default=10000
        Bootstrap draws, and sign patterns of the test.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than two systems, queries that differ, rankings cut at different depths where that changes the
        metric, or a metric that is infinite for a query.

    References
    ----------
    Smucker, Allan and Carterette, CIKM 2007, doi:10.1145/1321440.1321528.

    Examples
    --------
    >>> from cbirkit import Ranking, Relevance
    >>> relevance = Relevance.from_labels(None, None, ["x", "y"], ["x", "y"])
    >>> good, bad = [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> result = compare({n: Ranking.from_distances(d) for n, d in [("good", good), ("bad", bad)]}, relevance)
    >>> result.pairs[["a", "b", "difference"]].values.tolist()
    [['good', 'bad', 0.5]]
    """
    judged, chosen, notes = _judge_all(rankings, relevance, metric, ties)
    first = next(iter(judged.values()))
    columns = {name: j.scores([chosen]) for name, j in judged.items()}
    tied = {name: ties_note(j, [chosen], columns[name], ties) for name, j in judged.items()}
    for name in [name for name, (_, matters) in tied.items() if matters]:
        text = f'{name}: {tied[name][0]}; ties="expected" averages over their orders'
        warnings.warn(text, UserWarning, stacklevel=2)
    ids = first.ranking.query_ids
    per_query = {name: _in_order(columns[name][chosen.name], j, ids) for name, j in judged.items()}
    per_query = pd.DataFrame(per_query, index=pd.Index(first.ranking.query_ids, name="query"))
    scored = first.n_positives > 0
    codes = group_codes(groups, first.ranking.query_ids, scored)
    values = per_query.to_numpy()[scored]
    if not np.isfinite(values).all():
        raise ValueError(
            f"{metric} is infinite for a query (nothing found); compare by one that is finite, such as map"
        )
    rng = check_random_state(random_state)
    draws = (
        bootstrap_means(values, codes, n_draws, rng)
        if len(values)
        else np.full((1, values.shape[1]), np.nan)
    )
    low, high = interval(draws)
    summary = pd.DataFrame(
        {"mean": values.mean(axis=0) if len(values) else np.nan, "low": low, "high": high},
        index=pd.Index(list(judged), name="system"),
    )
    summary["n_scored"], summary["n_skipped"] = int(scored.sum()), int((~scored).sum())
    rows = [
        _pair(values, draws, list(judged), pair, (codes, n_draws, rng))
        for pair in combinations(range(len(judged)), 2)
    ]
    pairs = pd.DataFrame(rows)
    pairs.insert(6, "p_holm", holm(pairs["p"]))
    protocol = "\n".join(
        [*notes, *_describe(judged, tied), _describe_tests(n_draws, groups, len(pairs))]
    )
    return Comparison(
        chosen.name, summary.sort_values("mean", ascending=False), pairs, per_query, protocol
    )


def _judge_all(rankings, relevance, metric, ties):
    """Every ranking judged, the metric, and its definition with what has to be said of cut rankings."""
    if not isinstance(rankings, dict) or len(rankings) < 2:
        raise ValueError(
            "rankings must be a dict of at least two systems, such as {'colour': ..., 'shape': ...}"
        )
    judged = {str(name): Judged(ranking, relevance) for name, ranking in rankings.items()}
    first_name, first = next(iter(judged.items()))
    ids = set(first.ranking.query_ids)
    for name, other in judged.items():
        odd = ids.symmetric_difference(other.ranking.query_ids)
        if odd:
            raise ValueError(
                f"{first_name!r} and {name!r} do not rank the same queries: {next(iter(odd))!r} is in one "
                f"({len(odd)} in all); rank the same queries with both"
            )
    for other in judged.values():
        chosen = choose_metrics(other, [metric], ties)[0]
    depths = {name: j.ranking.k for name, j in judged.items()}
    if len(set(depths.values())) > 1 and any(j.uncertain(chosen).any() for j in judged.values()):
        least, listed = (
            min(depths.values()),
            ", ".join(f"{n}: {k} ranks" for n, k in depths.items()),
        )
        raise ValueError(
            f"{metric} would favour the deeper ranking ({listed}); cut all of them with ranking.top({least})"
        )
    notes = [f"{chosen.name}: {chosen.text}"]
    for name, j in judged.items():
        note = depth_note(j, chosen)
        if note:
            warnings.warn(
                f"{chosen.name} of {name}: {note}; search deeper", UserWarning, stacklevel=3
            )
            notes.append(f"{name}: {note}")
    return judged, chosen, notes


def _in_order(scores, judged, query_ids):
    """Scores in the order of `query_ids`."""
    if np.array_equal(query_ids, judged.ranking.query_ids):
        return scores
    return scores[positions_of(query_ids, judged.ranking.query_ids)]


def _pair(values, draws, names, pair, test):
    """One row of the table of pairs; the better system is `a`."""
    codes, n_draws, rng = test
    a, b = pair
    difference = values[:, a] - values[:, b]
    if len(values) and difference.mean() < 0:
        a, b, difference = b, a, -difference
    low, high = interval(draws[:, a] - draws[:, b])
    return {
        "a": names[a],
        "b": names[b],
        "difference": difference.mean() if len(values) else np.nan,
        "low": float(low),
        "high": float(high),
        "p": sign_flip_test(difference, codes, n_draws, rng),
        "a_better": int((difference > 0).sum()),
        "b_better": int((difference < 0).sum()),
        "equal": int((difference == 0).sum()),
    }


def _describe(judged, tied):
    """Rules of the first system; those of the others where they differ."""
    (first_name, first), *others = judged.items()
    rules = describe_rules(first, tied[first_name][0])
    lines = list(rules)
    for name, other in others:
        lines += [
            f"{name}: {line}" for line in describe_rules(other, tied[name][0]) if line not in rules
        ]
    if len(lines) > len(rules):
        lines.insert(0, f"rules of {first_name}, and of the others where they differ:")
    return lines


def _describe_tests(n_draws, groups, n_pairs):
    over = "queries" if groups is None else "groups of queries"
    return (
        f"tests: 95 % percentile paired bootstrap over {over} and paired sign-flip permutation test, "
        f"{n_draws:,} draws, two-sided; p_holm corrects for {n_pairs} pair{'s' if n_pairs > 1 else ''}"
    )
