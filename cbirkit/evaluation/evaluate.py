"""`evaluate`: scores of each query, their means with intervals, and the protocol they came about by."""

import html
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from ..ranking.ids import own_positions
from .judge import Judged
from .names import find_metric
from .resample import bootstrap_means, draw_counts, group_codes, interval

_TIES_MATTER = 1e-3  # change of a score
_NOTHING = "every database item is relevant to every query, so that any ranking is perfect"
DEFAULT = ("map", "p@1", "p@10", "recall@10", "hit_rate@10")


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    per_query : DataFrame, index query id
        One column for each metric, NaN for a query without positives, and ``n_positives``.
    summary : DataFrame, index metric
        ``mean`` over the scored queries (the median for ``median_rank``), ``low`` and ``high`` of its 95 %
        bootstrap interval, ``n_scored``, ``n_skipped``.
    protocol : str
        What each number means; one line for each metric, then the rules.

    Examples
    --------
    >>> from cbirkit import Ranking, Relevance
    >>> ranking = Ranking.from_distances([[0.1, 0.2, 0.3]])
    >>> ev = evaluate(ranking, Relevance.from_labels(None, None, ["x"], ["x", "y", "x"]), metrics=["map"])
    >>> round(ev["map"], 3)
    0.833
    """

    per_query: pd.DataFrame
    summary: pd.DataFrame
    protocol: str

    def __getitem__(self, metric):
        if metric not in self.summary.index:
            raise KeyError(
                f"{metric!r} was not asked for; there are {', '.join(self.summary.index)}"
            )
        return float(self.summary.loc[metric, "mean"])

    def __repr__(self):
        return f"{self.summary.to_string(float_format=format_score)}\n\n{self.protocol}"

    def _repr_html_(self):
        lines = "<br>".join(html.escape(line) for line in self.protocol.split("\n"))
        table = self.summary.to_html(float_format=format_score, escape=True, border=0)
        return f"{table}<details open><summary>protocol</summary><small>{lines}</small></details>"


def evaluate(
    ranking,
    relevance,
    *,
    metrics=DEFAULT,
    ties="order",
    n_bootstrap=1000,
    groups=None,
    random_state=0,
):
    """Score a ranking: junk deleted, the query removed by id, queries without positives left out and counted.

    Parameters
    ----------
    ranking : Ranking
    relevance : Relevance
        Matched with the ranking by id; the orders may differ.
    metrics : sequence of str, or str
        ``map``, ``map@K`` (``map@K/R``, ``map@K/hits``), ``trapezoid_map``, ``map@r``, ``r_precision``,
        ``p@K`` (``p@K/last``), ``recall@K``, ``hit_rate@K``, ``ndcg``, ``ndcg@K``, ``ndcg_linear@K``,
        ``ukbench``, ``expected_map``, ``worst_map``, ``best_map``, ``first_rank``, ``median_rank``. The
        default set is cut to the depth of a ranking that holds only the first k (``map`` becomes ``map@k``);
        metrics that you name never are.
    ties : {"order", "expected"}
        Take items at equal distances in the order of the ranking, which is often that of the files, or the expectation
        over all of their orders: of ``map``, ``map@K``, ``map@r``, ``p@K``, ``recall@K``, ``hit_rate@K``,
        ``r_precision``, ``ukbench`` and ``first_rank``, which have a closed form. Distances tie if they are equal to
        the bit.
    n_bootstrap : int, default=1000
        Draws of the percentile interval; 0 leaves it out (NaN).
    groups : array-like of shape (n_queries,), optional
        In the order of ``ranking.query_ids``: queries of one group (say, of one object) are drawn together.
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        Ids that the relevance does not know, an unknown metric, a cut-off beyond the depth of the ranking, or
        ``ukbench`` without the query itself among the results.

    Warns
    -----
    UserWarning
        The ranking ends before a metric does (``map`` of the first 10): the score is then of the ranks there
        are, what lies deeper counts as not found, and the protocol says so. Or no query has a positive, or each has every item. Or the order
        of right and wrong items at equal distances can change a mean by more than half of its standard error over
        queries; for how many queries it changes their score by more than 0.001 stands in the protocol.

    References
    ----------
    McSherry and Najork, ECIR 2008, doi:10.1007/978-3-540-78646-7_38, for ties.

    Examples
    --------
    >>> from cbirkit import Ranking, Relevance
    >>> ranking = Ranking(["q"], ["a", "b"], [[1, 0]], [[0.0, 1.0]])
    >>> relevance = Relevance.from_sets(["q"], ["a", "b"], [["a"]])
    >>> evaluate(ranking, relevance, metrics="first_rank")["first_rank"]
    2.0
    """
    judged = Judged(ranking, relevance)
    chosen = choose_metrics(judged, metrics, ties)
    notes = {metric.name: depth_note(judged, metric) for metric in chosen}
    for note in dict.fromkeys(filter(None, notes.values())):
        names = ", ".join(name for name in notes if notes[name] == note)
        warnings.warn(
            f"{names}: {note}; search deeper or name a cut-off", UserWarning, stacklevel=2
        )
    texts = [
        f"{m.name}: {m.text}" + (f" [{notes[m.name]}]" if notes[m.name] else "") for m in chosen
    ]
    columns = judged.scores(chosen)
    tied, matters = ties_note(judged, chosen, columns, ties)
    if matters and not any(metric.needs == "ties" for metric in chosen):
        warnings.warn(
            f'{tied}; ties="expected" averages over their orders', UserWarning, stacklevel=2
        )
    scored = judged.n_positives > 0
    if not scored.any():
        warnings.warn(
            "no query has a positive in the database, so every score is NaN",
            UserWarning,
            stacklevel=2,
        )
    if judged.says_nothing:
        warnings.warn(f"{_NOTHING}; are the labels right?", UserWarning, stacklevel=2)
    codes = group_codes(groups, ranking.query_ids, scored)
    summary = pd.DataFrame(
        [
            _summarise(metric, columns[metric.name][scored], low_high)
            for metric, low_high in zip(
                chosen,
                _intervals(chosen, columns, scored, codes, n_bootstrap, random_state),
                strict=True,
            )
        ],
        index=pd.Index([metric.name for metric in chosen], name="metric"),
    )
    summary["n_scored"], summary["n_skipped"] = int(scored.sum()), int((~scored).sum())
    columns["n_positives"] = judged.n_positives
    per_query = pd.DataFrame(columns, index=pd.Index(ranking.query_ids, name="query"))
    texts += describe_rules(judged, tied) + [_describe_intervals(n_bootstrap, groups)]
    return Evaluation(per_query, summary, "\n".join(texts))


def choose_metrics(judged, names, ties="order"):
    """The `Metric`s of these names, checked against the ranking, in expectation over ties if so."""
    if ties not in ("order", "expected"):
        raise ValueError(f'ties={ties!r} is unknown; use "order" or "expected"')
    chosen = _named_metrics(judged, names)
    return [metric.in_expectation() for metric in chosen] if ties == "expected" else chosen


def _named_metrics(judged, names):
    names = [names] if isinstance(names, str) else names
    chosen = [find_metric(name) for name in names]
    if len({metric.name for metric in chosen}) < len(chosen):
        raise ValueError(f"metrics names one twice: {', '.join(names)}")
    if not chosen:
        raise ValueError('metrics is empty; name at least one, such as "map"')
    if names is DEFAULT and judged.uncertain(chosen[0]).any():
        depth = _default_depth(judged)
        cut = [f"map@{depth}"] + [_cut(name, depth) for name in DEFAULT[1:]]
        return [find_metric(name) for name in dict.fromkeys(cut)]
    for metric in chosen:
        uncertain = judged.uncertain(metric).any()
        if isinstance(metric.needs, int) and metric.needs > judged.ranking.k and uncertain:
            needs, k = metric.needs, judged.ranking.k
            raise ValueError(
                f"{metric.name} needs {needs} ranks, the ranking has {k}; search with k >= {needs}"
            )
        if metric.name == "ukbench":
            _check_ukbench(judged)
    return chosen


def _default_depth(judged):
    """Ranks that every cut ranking has, where they differ by no more than the query itself; else the most."""
    depths = judged.n_ranked[~judged.complete]
    return max(1, int(depths.min() if depths.min() >= depths.max() - 1 else depths.max()))


def _cut(name, depth):
    base, _, k = name.partition("@")
    return f"{base}@{min(int(k), depth)}"


def _check_ukbench(judged):
    ranking = judged.ranking
    own = own_positions(ranking.own, ranking.query_ids, ranking.database_ids)
    if not judged.relevance.keep_self:
        raise ValueError("ukbench counts the query itself; build the relevance with keep_self=True")
    if not ((ranking.indices[:, :4] == own[:, None]) & (own >= 0)[:, None]).any():
        raise ValueError(
            "ukbench counts the query itself, and no query is among its own first four results; "
            "search the collection that holds the queries with exclude_self=False"
        )


def depth_note(judged, metric):
    """What to say where the ranking ends before the metric does, or an empty string."""
    uncertain = judged.uncertain(metric)
    if not uncertain.any():
        return ""
    least, most = judged.n_ranked[uncertain].min(), judged.n_ranked[uncertain].max()
    depth = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    why = (
        "where ties may go on"
        if metric.needs == "ties"
        else "and positives not among them count as not found"
    )
    return (
        f"computed over the first {depth} of {len(judged.ranking.database_ids):,} database items "
        f"for {int(uncertain.sum()):,} of {len(uncertain):,} queries: their ranking ends there, {why}"
    )


def ties_note(judged, chosen, columns, ties):
    """How items at equal distances count, with the queries for which that matters; and whether a mean moves by it."""
    if ties == "expected":
        return "ties: expected over all orders of items at equal distances", False
    chosen, told = [metric for metric in chosen if metric.needs != "ties"], []
    worst, best = judged.extremes(chosen, columns)
    touched, moves = np.zeros(len(judged.ranking), dtype=bool), False
    for metric in chosen:
        low, high = (some[metric.name][judged.n_positives > 0] for some in (worst, best))
        with np.errstate(invalid="ignore"):
            apart = np.abs(high - low) > _TIES_MATTER
        if apart.any():
            touched[judged.n_positives > 0] |= apart
            with np.errstate(invalid="ignore"):
                error = columns[metric.name][judged.n_positives > 0].std() / np.sqrt(len(low))
            moves |= bool(np.abs(low.mean() - high.mean()) > max(_TIES_MATTER, error / 2))
            told.append(f"{metric.name} from {low.mean():.4f} to {high.mean():.4f}")
    if not told:
        return "ties: in the order of the ranking", False
    note = (
        f"ties: in the order of the ranking; for {int(touched.sum()):,} of {int((judged.n_positives > 0).sum()):,} "
        f"queries the order of right and wrong items at equal distances matters ({', '.join(told)})"
    )
    return note, moves


def _intervals(chosen, columns, scored, codes, n_bootstrap, random_state):
    """(low, high) for each metric; all from the same draws."""
    out = [(np.nan, np.nan)] * len(chosen)
    if not n_bootstrap or not scored.any():
        return out
    seed = check_random_state(random_state).randint(2**31 - 1)
    values = [columns[metric.name][scored] for metric in chosen]
    plain = [
        i for i, m in enumerate(chosen) if m.average == "mean" and np.isfinite(values[i]).all()
    ]
    if plain:
        table = np.stack([values[i] for i in plain], axis=1)
        for i, low, high in zip(
            plain, *interval(bootstrap_means(table, codes, n_bootstrap, seed)), strict=True
        ):
            out[i] = (low, high)
    for i in set(range(len(chosen))) - set(plain):  # medians, and means of infinite ranks
        centre = np.median if chosen[i].average == "median" else np.mean
        draws = [
            centre(np.repeat(values[i], row.astype(int)[codes]))
            for _, counts in draw_counts(codes.max() + 1, n_bootstrap, seed)
            for row in counts
        ]
        out[i] = tuple(float(bound) for bound in interval(np.array(draws)))
    return out


def _summarise(metric, values, low_high):
    centre = np.median if metric.average == "median" else np.mean
    return {
        "mean": float(centre(values)) if len(values) else np.nan,
        "low": low_high[0],
        "high": low_high[1],
    }


def describe_rules(judged, ties):
    """The lines of the protocol that hold for all metrics of a result."""
    ranking, relevance = judged.ranking, judged.relevance
    n_db, scored = len(ranking.database_ids), judged.n_positives > 0
    depth = (
        "whole database"
        if judged.complete.all()
        else f"first {ranking.k:,} of {n_db:,} database items"
    )
    own = "no query is an item of the database"
    if relevance.n_self:
        own = f"the query itself{', by its id,' if relevance.by_id else ''} is deleted from the ranking"
    if relevance.n_self and relevance.keep_self:
        own = "the query itself stays in the ranking and counts"
    n_junk = int(relevance.n_junk.sum()) - (0 if relevance.keep_self else relevance.n_self)
    junk = (
        f"{n_junk:,} items over all queries, deleted before ranks are counted" if n_junk else "none"
    )
    lines = [
        f"ranking: {depth}" + (f"; {ranking.protocol}" if ranking.protocol else ""),
        f"self: {own}",
        f"junk: {junk}",
        ties,
        f"queries: {int(scored.sum()):,} scored, {int((~scored).sum()):,} skipped (no positives)",
    ]
    lines += [_NOTHING] if judged.says_nothing else []
    return lines + ([f"left out: {'; '.join(judged.notes)}"] if judged.notes else [])


def _describe_intervals(n_bootstrap, groups):
    if not n_bootstrap:
        return "intervals: none"
    over = "queries" if groups is None else "groups of queries"
    return f"intervals: 95 % percentile bootstrap over {over}, {n_bootstrap:,} draws"


def format_score(value):
    """A score for a table: four decimals, fewer from 100 on."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
