"""`evaluate` and `compare`: scores of each query, their means with intervals, paired tests, and the protocol of it all."""

import html
import warnings
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from cbirkit.metrics import find_metric
from cbirkit.metrics.ranked import Hits, Ties
from cbirkit.ranking.codes import own_positions, positions_of

from .resample import bootstrap_means, draw_counts, group_codes, holm, interval, sign_flip_test

_BLOCK = 1 << 20  # ranks looked at together: temporary arrays stay near 8 MB each
_TIES_MATTER = 1e-3  # change of a score
_NOTHING = "every database item is relevant to every query, so that any ranking is perfect"
DEFAULT = ("map", "p@1", "p@10", "recall@10", "hit_rate@10")


def format_score(value):
    """A score for a table: four decimals, fewer from 100 on."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


class _Report:
    """Tables and the protocol, as text and as HTML."""

    def _tables(self):
        return [(self.summary, True)]

    def __repr__(self):
        tables = [
            t.to_string(float_format=format_score, index=named) for t, named in self._tables()
        ]
        return "\n\n".join([*tables, self.protocol])

    def _repr_html_(self):
        style = {"float_format": format_score, "escape": True, "border": 0}
        tables = "".join(table.to_html(index=named, **style) for table, named in self._tables())
        lines = html.escape(self.protocol).replace("\n", "<br>")
        return f"{tables}<details open><summary>protocol</summary><small>{lines}</small></details>"


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(_Report):
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
            raise KeyError(f"{metric!r} was not asked for, only {', '.join(self.summary.index)}")
        return float(self.summary.loc[metric, "mean"])


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(_Report):
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

    def _tables(self):
        return [(self.summary, True), (self.pairs, False)]


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
        Names of `cbirkit.metrics.METRICS` (``help(cbirkit.metrics)`` lists them), such as ``map``, ``p@10``, ``ndcg@5``. The
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
    aligned = AlignedRanking(ranking, relevance)
    return _evaluate(aligned, metrics, ties, n_bootstrap, groups, random_state)


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
    systems = _align_all(rankings, relevance)
    _check_depths(systems, metric, ties)
    found = {}
    for name, aligned in systems.items():
        found[name] = _evaluate(aligned, [metric], ties, 0, source=f"{name}: ")
    first = next(iter(found.values())).per_query
    metric, ids, scored = first.columns[0], first.index, first["n_positives"].to_numpy() > 0
    per_query = pd.DataFrame({name: one.per_query[metric][ids] for name, one in found.items()})
    values, codes = per_query.to_numpy()[scored], group_codes(groups, ids, scored)
    if not np.isfinite(values).all():
        raise ValueError(f"{metric} is infinite for a query (nothing found); compare by map, say")
    rng = check_random_state(random_state)
    if not len(values):
        values, codes = np.full((1, len(systems)), np.nan), np.zeros(1, int)
    draws = bootstrap_means(values, codes, n_draws, rng)
    low, high = interval(draws)
    index = pd.Index(list(systems), name="system")
    summary = pd.DataFrame({"mean": values.mean(axis=0), "low": low, "high": high}, index=index)
    summary["n_scored"], summary["n_skipped"] = int(scored.sum()), int((~scored).sum())
    test = values, draws, list(systems), codes, n_draws, rng
    pairs = pd.DataFrame([_pair(*pair, *test) for pair in combinations(range(len(systems)), 2)])
    pairs.insert(6, "p_holm", holm(pairs["p"]))
    tests = (
        f"tests: 95 % percentile paired bootstrap over {_unit(groups)} and paired sign-flip permutation test, "
        f"{n_draws:,} draws, two-sided; p_holm corrects for {len(pairs)} pair{'s' * (len(pairs) > 1)}"
    )
    protocol, summary = _joint_protocol(found), summary.sort_values("mean", ascending=False)
    return Comparison(metric, summary, pairs, per_query, f"{protocol}\n{tests}")


def _evaluate(aligned, metrics, ties, n_bootstrap, groups=None, random_state=0, source=""):
    """An `Evaluation`; warnings begin with `source`."""

    def warn(text):
        warnings.warn(source + text, UserWarning, stacklevel=4)

    chosen = _choose_metrics(aligned, metrics, ties)
    notes = {metric.name: aligned.depth_note(metric) for metric in chosen}
    for note in dict.fromkeys(filter(None, notes.values())):
        names = ", ".join(name for name in notes if notes[name] == note)
        warn(f"{names}: {note}; search deeper or name a cut-off")
    columns = aligned.scores(chosen, ties)
    tied, matters = aligned.ties_note(chosen, columns, ties)
    if matters and not any(metric.needs == "ties" for metric in chosen):
        warn(f'{tied}; ties="expected" averages over their orders')
    scored = aligned.n_positives > 0
    if not scored.any():
        warn("no query has a positive in the database, so every score is NaN")
    if aligned.says_nothing:
        warn(f"{_NOTHING}; are the labels right?")
    values = {metric: columns[metric.name][scored] for metric in chosen}
    means = [float(_centre(m)(v)) if scored.any() else np.nan for m, v in values.items()]
    ids = aligned.ranking.query_ids
    low, high = _intervals(values, group_codes(groups, ids, scored), n_bootstrap, random_state)
    index = pd.Index([metric.name for metric in chosen], name="metric")
    summary = pd.DataFrame({"mean": means, "low": low, "high": high}, index=index)
    summary["n_scored"], summary["n_skipped"] = int(scored.sum()), int((~scored).sum())
    columns["n_positives"] = aligned.n_positives
    per_query = pd.DataFrame(columns, index=pd.Index(ids, name="query"))
    texts = [_definition(m, ties) + f" [{notes[m.name]}]" * bool(notes[m.name]) for m in chosen]
    how = f"95 % percentile bootstrap over {_unit(groups)}, {n_bootstrap:,} draws"
    texts += [*aligned.rules(tied), f"intervals: {how if n_bootstrap else 'none'}"]
    return Evaluation(per_query, summary, "\n".join(texts))


def _centre(metric):
    return np.median if metric.average == "median" else np.mean


def _unit(groups):
    return "queries" if groups is None else "groups of queries"


def _definition(metric, ties):
    expected = ties == "expected" and metric.needs != "ties"
    return f"{metric.name}: {metric.formula}{', expected over the orders of ties' * expected}"


def _choose_metrics(aligned, names, ties):
    """The `Metric`s of these names, checked against the ranking."""
    if ties not in ("order", "expected"):
        raise ValueError(f'ties={ties!r} is unknown; use "order" or "expected"')
    asked = [names] if isinstance(names, str) else list(names)
    chosen = [find_metric(name) for name in asked]
    if len(set(asked)) < len(asked):
        raise ValueError(f"metrics names one twice: {', '.join(asked)}")
    if not chosen:
        raise ValueError('metrics is empty; name at least one, such as "map"')
    if names is DEFAULT and aligned.uncertain(chosen[0]).any():
        # the ranks that every cut ranking has, where they differ by no more than the query itself; else the most
        depths = aligned.n_ranked[~aligned.complete]
        depth = max(1, int(depths.min() if depths.min() >= depths.max() - 1 else depths.max()))
        chosen = [find_metric(f"map@{depth}"), *chosen[1:]]
        chosen = [find_metric(f"{m.name.partition('@')[0]}@{min(m.k, depth)}") for m in chosen]
        return list({metric.name: metric for metric in chosen}.values())
    for metric in chosen:
        uncertain, k = aligned.uncertain(metric).any(), aligned.ranking.k
        if isinstance(metric.needs, int) and metric.needs > k and uncertain:
            needed = f"{metric.needs} ranks, the ranking has {k}; search with k >= {metric.needs}"
            raise ValueError(f"{metric.name} needs {needed}")
        if ties == "expected" and not metric.has_expectation:
            raise ValueError(
                f'{metric.name} has no closed form over ties; leave it out, or ties="order"'
            )
        if metric.name == "ukbench":
            _check_ukbench(aligned)
    return chosen


def _check_ukbench(aligned):
    ranking = aligned.ranking
    own = own_positions(ranking.own, ranking.query_ids, ranking.database_ids)
    if not aligned.relevance.keep_self:
        raise ValueError("ukbench counts the query itself; build the relevance with keep_self=True")
    if not ((ranking.indices[:, :4] == own[:, None]) & (own >= 0)[:, None]).any():
        raise ValueError(
            "ukbench counts the query itself, and no query is among its own first four results; "
            "search the collection that holds the queries with exclude_self=False"
        )


def _intervals(values, codes, n_bootstrap, random_state):
    """Bounds of each metric, (2, n_metrics); all from the same draws."""
    out = np.full((2, len(values)), np.nan)
    if not n_bootstrap or not len(codes):
        return out
    seed = check_random_state(random_state).randint(2**31 - 1)
    table = np.stack(list(values.values()), axis=1)
    plain = np.isfinite(table).all(axis=0) & [metric.average == "mean" for metric in values]
    if plain.any():
        out[:, plain] = interval(bootstrap_means(table[:, plain], codes, n_bootstrap, seed))
    for i, metric in enumerate(values):
        if not plain[i]:  # medians, and means of infinite ranks
            counts = (
                row for _, rows in draw_counts(codes.max() + 1, n_bootstrap, seed) for row in rows
            )
            drawn = (np.repeat(table[:, i], row.astype(int)[codes]) for row in counts)
            out[:, i] = interval(np.array([_centre(metric)(one) for one in drawn]))
    return out


def _align_all(rankings, relevance):
    """Every ranking aligned; ValueError unless they are two or more of the same queries."""
    if not isinstance(rankings, dict) or len(rankings) < 2:
        raise ValueError(
            "rankings must be a dict of at least two systems: {'colour': ..., 'shape': ...}"
        )
    systems = {str(name): AlignedRanking(one, relevance) for name, one in rankings.items()}
    (first_name, first), *others = systems.items()
    for name, other in others:
        if odd := set(first.ranking.query_ids).symmetric_difference(other.ranking.query_ids):
            raise ValueError(
                f"{first_name!r} and {name!r} do not rank the same queries: {next(iter(odd))!r} is in one "
                f"({len(odd)} in all); rank the same queries with both"
            )
    return systems


def _check_depths(systems, metric, ties):
    depths, uncertain = {name: aligned.ranking.k for name, aligned in systems.items()}, False
    for aligned in systems.values():
        chosen = _choose_metrics(aligned, [metric], ties)[0]
        uncertain |= aligned.uncertain(chosen).any()
    if len(set(depths.values())) > 1 and uncertain:
        listed = ", ".join(f"{name}: {k} ranks" for name, k in depths.items())
        mend = f"cut all of them with ranking.top({min(depths.values())})"
        raise ValueError(f"{metric} would favour the deeper ranking ({listed}); {mend}")


def _pair(a, b, values, draws, names, codes, n_draws, rng):
    """One row of the table of pairs; the better system is `a`."""
    a, b = (b, a) if values[:, a].mean() < values[:, b].mean() else (a, b)
    difference = values[:, a] - values[:, b]
    low, high = interval(draws[:, a] - draws[:, b])
    return {
        "a": names[a],
        "b": names[b],
        "difference": difference.mean(),
        "low": float(low),
        "high": float(high),
        "p": sign_flip_test(np.nan_to_num(difference), codes, n_draws, rng),
        "a_better": int((difference > 0).sum()),
        "b_better": int((difference < 0).sum()),
        "equal": int((difference == 0).sum()),
    }


def _joint_protocol(found):
    """That of the first system without its intervals; of the others where they differ."""
    protocols = {name: one.protocol.split("\n")[:-1] for name, one in found.items()}
    first, *others = protocols
    rules = protocols[first]
    odd = [f"{name}: {line}" for name in others for line in protocols[name] if line not in rules]
    head = [f"rules of {first}, and of the others where they differ:"] * bool(odd)
    return "\n".join([*head, *rules, *odd])


@dataclass(frozen=True, eq=False)
class Block:
    """Some queries of an `AlignedRanking`, as metrics want them: (n, k), junk deleted, rest moved up."""

    aligned: "AlignedRanking"
    rows: slice

    @property
    def relevant(self):
        """bool (n, k)"""
        return self.aligned.relevant[self.rows]

    @property
    def n_positives(self):
        """int64 (n,): R of each query"""
        return self.aligned.n_positives[self.rows]

    @cached_property
    def hits(self):
        """The same and R, in the form that the metrics share."""
        return Hits(self.relevant, self.n_positives)

    @cached_property
    def relevance(self):
        """The `Relevance` of these queries."""
        return self.aligned.relevance.select(self.rows)

    @cached_property
    def gains(self):
        """float32 (n, k), 0 after the end"""
        indices, keep = self.aligned.look(self.rows, self.relevance)[:2]
        return close_gaps(self.relevance.gains(indices), keep, 0)

    @cached_property
    def distances(self):
        """float (n, k), inf after the end"""
        keep = self.aligned.look(self.rows, self.relevance)[1]
        return close_gaps(self.aligned.ranking.distances[self.rows], keep, np.inf)

    def ideal(self, k):
        """The k largest gains of each query, or all, float32 (n, k)"""
        return self.relevance.ideal_gains(k or int(self.n_positives.max(initial=1)) or 1)

    @cached_property
    def ties(self):
        """`Ties` of the distances."""
        return Ties(self.distances, self.relevant)

    def extremes(self, graded):
        """Two such blocks: right items last, and first, among those of equal distance; of gains too if `graded`."""
        for relevant, sign in ((self.ties.worst, 1), (self.ties.best, -1)):
            other = Block(self.aligned, self.rows)
            vars(other)["hits"] = Hits(relevant, self.n_positives)
            if graded:
                order = np.lexsort((sign * self.gains, self.distances))
                vars(other)["gains"] = np.take_along_axis(self.gains, order, axis=1)
            yield other


class AlignedRanking:
    """A ranking with right and wrong marked.

    Parameters
    ----------
    ranking : Ranking
    relevance : Relevance
        Aligned with the ranking by id: other orders are fine, queries that are not ranked are left out.

    Attributes
    ----------
    relevant : ndarray of bool, shape (n_queries, k)
        Junk, the query itself and padding deleted, the rest moved up, False after the end.
    n_ranked : ndarray of int64, shape (n_queries,)
        Items left in each row.
    n_positives : ndarray of int64, shape (n_queries,)
    complete : ndarray of bool, shape (n_queries,)
        The row holds all of the database that is not junk.
    notes : list of str
        What the alignment left out.

    Raises
    ------
    ValueError
        A query or database id of the ranking that the relevance does not know.
    """

    def __init__(self, ranking, relevance):
        self.ranking, self.notes = ranking, []
        note = "queries of the relevance are not in the ranking"
        rows = self._align(ranking.query_ids, relevance.query_ids, "query", note)
        self.relevance = relevance if rows is None else relevance.select(rows)
        note = "database items of the relevance are not in the ranking's; positives among them count as not found"
        moved = self._align(ranking.database_ids, relevance.database_ids, "database", note)
        # the relevance's position of each database item, and -1 for padding
        self._moved = None if moved is None else np.append(moved, -1)
        self._check_own()
        self.n_positives = self.relevance.n_positives
        self.relevant = np.zeros(ranking.indices.shape, dtype=bool)
        self.n_ranked = np.zeros(len(ranking), dtype=np.int64)
        for rows in self._row_blocks():
            part = self.relevance.select(rows)
            indices, keep = self.look(rows, part)
            self.relevant[rows] = close_gaps(part.relevant(indices), keep, False)
            self.n_ranked[rows] = ranking.k - count_true(~keep)
        self.complete = self._find_complete()

    @cached_property
    def says_nothing(self):
        """Whether every database item that is not junk is relevant to every query, so that all rankings are perfect."""
        relevance, scored = self.relevance, self.n_positives > 0
        full = relevance.n_positives + relevance.n_junk >= len(relevance.database_ids)
        return bool(scored.any() and full[scored].all() and self.n_positives.max() > 1)

    @cached_property
    def n_missing(self):
        """Positives of each query that its row does not hold."""
        return self.n_positives - count_true(self.relevant)

    def scores(self, metrics, ties="order"):
        """For each metric one float64 for each query, by name; NaN where a query has no positives."""
        out = {metric.name: np.empty(len(self.ranking)) for metric in metrics}
        for rows in self._row_blocks():
            block = Block(self, rows)
            for metric in metrics:
                out[metric.name][rows] = metric.score(block, ties)
        return out

    def extremes(self, metrics, scores):
        """Like `scores`, with right items last and first among those of equal distance: two dicts."""
        extremes = [{m.name: scores[m.name].copy() for m in metrics} for _ in range(2)]
        graded = any(metric.takes == "gains" for metric in metrics)
        for rows in self._row_blocks() if metrics else ():
            block = Block(self, rows)
            worth = block.gains if graded else block.relevant
            tied = block.distances[:, 1:] == block.distances[:, :-1]
            if (tied & (worth[:, 1:] != worth[:, :-1])).any():
                for out, other in zip(extremes, block.extremes(graded), strict=True):
                    for metric in metrics:
                        out[metric.name][rows] = metric.score(other)
        return extremes

    def uncertain(self, metric):
        """Mask of the queries whose score could change if the ranking went deeper."""
        if metric.needs == "ties":
            return ~self.complete & (self.n_positives > 0)
        open_end = ~self.complete & (self.n_missing > 0)
        if metric.needs == "all":
            return open_end
        if metric.needs == "first":
            return open_end & (self.n_missing == self.n_positives)
        return open_end & (
            self.n_ranked < (self.n_positives if metric.needs == "R" else metric.needs)
        )

    def depth_note(self, metric):
        """What to say where the ranking ends before the metric does, or an empty string."""
        uncertain = self.uncertain(metric)
        if not uncertain.any():
            return ""
        least, most = self.n_ranked[uncertain].min(), self.n_ranked[uncertain].max()
        depth = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        why = "and positives not among them count as not found"
        why = "where ties may go on" if metric.needs == "ties" else why
        return (
            f"computed over the first {depth} of {len(self.ranking.database_ids):,} database items "
            f"for {int(uncertain.sum()):,} of {len(uncertain):,} queries: their ranking ends there, {why}"
        )

    def ties_note(self, chosen, columns, ties):
        """How items at equal distances count, with the queries for which that matters; and whether a mean moves by it."""
        if ties == "expected":
            return "ties: expected over all orders of items at equal distances", False
        chosen = [metric for metric in chosen if metric.needs != "ties"]
        worst, best = self.extremes(chosen, columns)
        scored, touched, moves, listed = self.n_positives > 0, False, False, []
        for name in worst:
            low, high, values = (some[name][scored] for some in (worst, best, columns))
            with np.errstate(invalid="ignore"):
                apart = np.abs(high - low) > _TIES_MATTER
                if not apart.any():
                    continue
                least = max(_TIES_MATTER, values.std() / np.sqrt(len(values)) / 2)
            touched = touched | apart
            moves |= bool(np.abs(low.mean() - high.mean()) > least)
            listed.append(f"{name} from {low.mean():.4f} to {high.mean():.4f}")
        if not listed:
            return "ties: in the order of the ranking", False
        return (
            f"ties: in the order of the ranking; for {int(touched.sum()):,} of {int(scored.sum()):,} "
            f"queries the order of right and wrong items at equal distances matters ({', '.join(listed)})"
        ), moves

    def rules(self, ties):
        """The lines of the protocol that hold for all metrics of a result."""
        ranking, relevance, scored = self.ranking, self.relevance, self.n_positives > 0
        depth = f"first {ranking.k:,} of {len(ranking.database_ids):,} database items"
        depth = "whole database" if self.complete.all() else depth
        own = "no query is an item of the database"
        if relevance.n_self:
            own = f"the query itself{', by its id,' * relevance.by_id} is deleted from the ranking"
        if relevance.n_self and relevance.keep_self:
            own = "the query itself stays in the ranking and counts"
        n_junk = int(relevance.n_junk.sum()) - (0 if relevance.keep_self else relevance.n_self)
        junk = f"{n_junk:,} items over all queries, deleted before ranks are counted"
        lines = [
            f"ranking: {'; '.join(filter(None, [depth, ranking.protocol]))}",
            f"self: {own}",
            f"junk: {junk if n_junk else 'none'}",
            ties,
            f"queries: {int(scored.sum()):,} scored, {int((~scored).sum()):,} skipped (no positives)",
        ]
        lines += [_NOTHING] * self.says_nothing
        return lines + [f"left out: {'; '.join(self.notes)}"] * bool(self.notes)

    def look(self, rows, part):
        """Positions of these rows in the relevance's database, and what is neither junk nor padding."""
        indices = self.ranking.indices[rows]
        if self._moved is not None:
            indices = self._moved[indices]
        return indices, (indices >= 0) & ~part.junk(indices)

    def _row_blocks(self):
        step = max(1, _BLOCK // max(1, self.ranking.k))
        return [slice(start, start + step) for start in range(0, len(self.ranking), step)]

    def _align(self, ids, known, what, note):
        """Where `ids` are among those of the relevance, None if they are the same; notes how many of its ids are left."""
        if np.array_equal(ids, known):
            return None
        found = positions_of(ids, known, f"{what}_ids")
        if len(unknown := ids[found < 0]):
            example = f"it has {known[0]!r}, ..." if len(known) else "it has none"
            raise ValueError(
                f"{len(unknown)} of the {len(ids)} {what} ids of the ranking are unknown to the relevance, "
                f"such as {unknown[0]!r} ({example}); build both from the same collections"
            )
        if len(ids) < len(known):
            self.notes.append(f"{len(known) - len(ids):,} {note}")
        return found

    def _check_own(self):
        """Raise ValueError where the relevance takes another picture of the same id for the query itself."""
        if self.ranking.own is None or self.relevance.keep_self:
            return
        apart = (self.relevance.own >= 0) & (self.ranking.own < 0)
        if apart.any():
            raise ValueError(
                f"{apart.sum()} queries, such as {self.ranking.query_ids[apart.argmax()]!r}, share their id with a "
                "database image of other contents, which this relevance takes for the query itself; build it with "
                "images.relevance(queries, database) of what was searched"
            )

    def _find_complete(self):
        n, relevance, moved = len(self.ranking.database_ids), self.relevance, self._moved
        n_junk = relevance.n_junk
        if moved is not None and n < len(relevance.database_ids):
            # how much of the junk is in this smaller database is known of the query itself only
            n_junk = (
                np.isin(relevance.own, moved) & (relevance.own >= 0) & (not relevance.keep_self)
            )
        n_seen = self.ranking.k - count_true(self.ranking.indices < 0)
        return (n_seen >= n) | (self.n_ranked >= n - n_junk)


def count_true(mask):
    """True values in each row of a bool array (n, k), quickly where they are few: int64 (n,)."""
    n, k = mask.shape
    return np.bincount(np.flatnonzero(mask) // max(k, 1), minlength=n)


def close_gaps(values, keep, fill):
    """Move the values under `keep` to the front of each row, in order, and put `fill` behind them."""
    if keep.all():
        return values
    out = np.full(values.shape, fill, dtype=values.dtype)
    out[np.arange(values.shape[1]) < keep.sum(axis=1)[:, None]] = values[keep]
    return out
