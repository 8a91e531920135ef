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
from cbirkit.ranking.codes import own_positions, positions_of, row_blocks

from .resample import bootstrap_means, draw_counts, group_codes, holm, interval, sign_flip_test

_TIES_MATTER = 1e-3  # change of a score
_NOTHING = "every database item is relevant to every query, so that any ranking is perfect"
DEFAULT = ("map", "p@1", "p@10", "recall@10", "hit_rate@10")
_PAIR = ("a", "b", "difference", "low", "high", "p", "a_better", "b_better", "equal")


def format_score(value):
    """A score for a table: four decimals, fewer from 100 on."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


class _Report:
    """Tables and the protocol, as text and as HTML."""

    def _tables(self):
        return [(self.summary, True)]

    def __repr__(self):
        pairs = self._tables()
        tables = (one.to_string(float_format=format_score, index=named) for one, named in pairs)
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
        metric, no query with a positive, or a metric that is infinite for a query.

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
    systems, found = _align_all(rankings, relevance, metric), {}
    for name, aligned in systems.items():
        found[name] = _evaluate(aligned, [metric], ties, 0, source=f"{name}: ")
    first = next(iter(found.values())).per_query
    metric, ids, scored = first.columns[0], first.index, first["n_positives"].to_numpy() > 0
    per_query = pd.DataFrame({name: one.per_query[metric][ids] for name, one in found.items()})
    values, codes = per_query.to_numpy()[scored], group_codes(groups, ids, scored)
    if not len(values) or not np.isfinite(values).all():
        problem = "is infinite for a query (nothing found)" if len(values) else "needs positives"
        raise ValueError(f"{metric} {problem}; the systems cannot be compared by it")
    rng = check_random_state(random_state)
    draws = bootstrap_means(values, codes, n_draws, rng)
    summary = _summary("system", list(systems), values.mean(axis=0), interval(draws), scored)
    test = values, draws, list(systems), codes, n_draws, rng
    rows = [_pair(*pair, *test) for pair in combinations(range(len(systems)), 2)]
    pairs = pd.DataFrame(rows, columns=_PAIR)
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
    tied, matters = aligned.ties_note(columns, ties)
    columns = {name: values[0] for name, values in columns.items()}
    if matters and not any(metric.needs == "ties" for metric in chosen):
        warn(f'{tied}; ties="expected" averages over their orders')
    scored = aligned.n_positives > 0
    if not scored.any():
        warn("no query has a positive in the database, so every score is NaN")
    if aligned.says_nothing:
        warn(f"{_NOTHING}; are the labels right?")
    values = {metric: columns[metric.name][scored] for metric in chosen}
    means = [getattr(np, m.average)(v) if scored.any() else np.nan for m, v in values.items()]
    ids = aligned.ranking.query_ids
    bounds = _intervals(values, group_codes(groups, ids, scored), n_bootstrap, random_state)
    summary = _summary("metric", [metric.name for metric in chosen], means, bounds, scored)
    columns["n_positives"] = aligned.n_positives
    per_query = pd.DataFrame(columns, index=pd.Index(ids, name="query"))
    texts = [_definition(m, ties) + f" [{notes[m.name]}]" * bool(notes[m.name]) for m in chosen]
    how = f"95 % percentile bootstrap over {_unit(groups)}, {n_bootstrap:,} draws"
    texts += [*aligned.rules(tied), f"intervals: {how if n_bootstrap else 'none'}"]
    return Evaluation(per_query, summary, "\n".join(texts))


def _summary(what, names, means, bounds, scored):
    index, columns = pd.Index(names, name=what), ["mean", "low", "high"]
    table = pd.DataFrame(np.column_stack([means, *bounds]), index, columns)
    return table.assign(n_scored=int(scored.sum()), n_skipped=int((~scored).sum()))


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
    if not asked or len(set(asked)) < len(asked):
        raise ValueError(f"metrics must name at least one, and none twice, got {asked}")
    chosen = [find_metric(name) for name in asked]
    if names is DEFAULT and aligned.uncertain(chosen[0]).any():
        # of queries that are in the database the ranking holds one rank less
        depth = max(1, aligned.n_ranked[~aligned.complete].max())
        rest = (f"{name}@{min(10, depth)}" for name in ("p", "recall", "hit_rate"))
        return [find_metric(name) for name in dict.fromkeys([f"map@{depth}", "p@1", *rest])]
    for metric in chosen:
        needs, k = metric.needs, aligned.ranking.k
        if isinstance(needs, int) and needs > k and aligned.uncertain(metric).any():
            raise ValueError(f"{metric.name}: the ranking has {k} ranks; search with k >= {needs}")
        if ties == "expected" and not metric.has_expectation:
            raise ValueError(f'{metric.name} has no closed form over ties; use ties="order"')
        if metric.name == "ukbench" and not _holds_queries(aligned):
            mend = "keep_self=True in the relevance and exclude_self=False in the search"
            raise ValueError(f"ukbench counts the query itself among the results; use {mend}")
    return chosen


def _holds_queries(aligned):
    """Whether queries are ranked among themselves, and count."""
    ranking = aligned.ranking
    own = own_positions(ranking.own, ranking.query_ids, ranking.database_ids)
    itself = ranking.indices[:, :4] == np.where(own < 0, -2, own)[:, None]
    return aligned.relevance.keep_self and itself.any()


def _intervals(values, codes, n_bootstrap, random_state):
    """Bounds of each metric, (2, n_metrics); all from the same draws."""
    if not n_bootstrap or not len(codes):
        return np.full((2, len(values)), np.nan)
    seed = check_random_state(random_state).randint(2**31 - 1)
    table = np.stack(list(values.values()), axis=1)
    drawn = bootstrap_means(np.nan_to_num(table, posinf=0), codes, n_bootstrap, seed)
    for i, metric in enumerate(values):
        if metric.average == "median" or np.isinf(table[:, i]).any():
            blocks = draw_counts(codes.max() + 1, n_bootstrap, seed)
            repeats = (row.astype(int)[codes] for rows in blocks for row in rows)
            drawn[:, i] = [getattr(np, metric.average)(np.repeat(table[:, i], n)) for n in repeats]
    return np.transpose([interval(column) for column in drawn.T])


def _align_all(rankings, relevance, metric):
    """Every ranking aligned; ValueError unless they are two or more, of the same queries, as deep as the metric needs."""
    if not isinstance(rankings, dict) or len(rankings) < 2:
        raise ValueError("rankings must be a dict of at least two systems: {'a': ..., 'b': ...}")
    systems = {str(name): AlignedRanking(one, relevance) for name, one in rankings.items()}
    (first_name, first), *others = systems.items()
    for name, other in others:
        if odd := set(first.ranking.query_ids).symmetric_difference(other.ranking.query_ids):
            which = f"{next(iter(odd))!r} is in one ({len(odd)} in all)"
            raise ValueError(f"{first_name!r} and {name!r} do not rank the same queries: {which}")
    depths = {name: one.ranking.k for name, one in systems.items()}
    uncertain = any(one.uncertain(find_metric(metric)).any() for one in systems.values())
    if len(set(depths.values())) > 1 and uncertain:
        listed = ", ".join(f"{name}: {k} ranks" for name, k in depths.items())
        mend = f"cut all of them with ranking.top({min(depths.values())})"
        raise ValueError(f"{metric} would favour the deeper ranking ({listed}); {mend}")
    return systems


def _pair(a, b, values, draws, names, codes, n_draws, rng):
    """One row of the table of pairs, as `_PAIR` says; the better system is `a`."""
    a, b = (b, a) if values[:, a].mean() < values[:, b].mean() else (a, b)
    difference = values[:, a] - values[:, b]
    bounds = interval(draws[:, a] - draws[:, b])
    p = sign_flip_test(difference, codes, n_draws, rng)
    counts = (int((np.sign(difference) == sign).sum()) for sign in (1, -1, 0))
    return names[a], names[b], difference.mean(), *bounds, p, *counts


def _joint_protocol(found):
    """That of the first system without its intervals; of the others where they differ."""
    protocols = {name: one.protocol.split("\n")[:-1] for name, one in found.items()}
    (first, rules), *others = protocols.items()
    odd = [f"{name}: {line}" for name, lines in others for line in lines if line not in rules]
    head = [f"rules of {first}, and of the others where they differ:"] * bool(odd)
    return "\n".join([*head, *rules, *odd])


class Block:
    """Some rankings as metrics want them, nearest first, junk deleted.

    Attributes
    ----------
    gains : ndarray of float32, shape (n, k)
    relevant : ndarray of bool, shape (n, k)
    hits : Hits
        The relevant ranks and R, in the form that the metrics share.
    distances : ndarray of float, shape (n, k)
    n_positives : ndarray of int64, shape (n,)
    """

    def __init__(self, gains, distances, relevance):
        self.gains, self.distances, self.relevance = gains, distances, relevance
        self.relevant, self.n_positives = gains > 0, relevance.n_positives
        self.hits = Hits(self.relevant, self.n_positives)

    @cached_property
    def ties(self):
        """`Ties` of the distances."""
        return Ties(self.distances, self.relevant)

    def ideal(self, k):
        """The k largest gains of each query, or all, float32 (n, k)"""
        return self.relevance.ideal_gains(k or int(self.n_positives.max(initial=1)) or 1)

    def orders(self):
        """The block; and where that matters, with the less right last, and first, among items of equal distance."""
        yield self
        tied = self.distances[:, 1:] == self.distances[:, :-1]
        rows = np.flatnonzero((tied & (self.gains[:, 1:] != self.gains[:, :-1])).any(axis=1))
        for sign in (1, -1) if len(rows) else ():
            order = np.lexsort((sign * self.gains[rows], self.distances[rows]))
            gains = self.gains.copy()
            gains[rows] = np.take_along_axis(gains[rows], order, axis=1)
            yield Block(gains, self.distances, self.relevance)


class AlignedRanking:
    """A ranking with right and wrong marked: junk, the query itself and padding deleted, the rest moved up.

    Parameters
    ----------
    ranking : Ranking
    relevance : Relevance
        Aligned with the ranking by id: other orders are fine, queries that are not ranked are left out.

    Attributes
    ----------
    gains : ndarray of float32, shape (n_queries, k)
        Above 0 for what is relevant; 0 after the end.
    distances : ndarray of float, shape (n_queries, k)
        inf after the end.
    n_ranked : ndarray of int64, shape (n_queries,)
        Items left in each row.
    n_positives, n_missing : ndarray of int64, shape (n_queries,)
        Positives of each query, and how many of them its row does not hold.
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
        self._check_own()
        self.gains = np.empty(ranking.indices.shape, dtype=np.float32)
        self.distances = np.empty_like(ranking.distances)
        self.n_ranked = np.empty(len(ranking), dtype=np.int64)
        for rows in row_blocks(*self.gains.shape):
            part, indices = self.relevance.select(rows), ranking.indices[rows]
            # the relevance's position of each database item, and -1 for padding
            indices = indices if moved is None else np.append(moved, -1)[indices]
            keep = (indices >= 0) & ~part.junk(indices)
            self.gains[rows] = close_gaps(part.gains(indices), keep, 0)
            self.distances[rows] = close_gaps(ranking.distances[rows], keep, np.inf)
            self.n_ranked[rows] = np.count_nonzero(keep, axis=1)
        self.n_positives = self.relevance.n_positives
        self.n_missing = self.n_positives - np.count_nonzero(self.gains, axis=1)
        self.complete = self._find_complete(moved)

    @cached_property
    def says_nothing(self):
        """Whether every database item that is not junk is relevant to every query, so that all rankings are perfect."""
        relevance, scored = self.relevance, self.n_positives > 0
        full = relevance.n_positives + relevance.n_junk >= len(relevance.database_ids)
        return bool(scored.any() and full[scored].all() and self.n_positives.max() > 1)

    def scores(self, metrics, ties="order"):
        """For each metric, by name, float64 (3, n_queries), NaN where a query has no positives.

        The first row is the score; the others are what it would be with right items last, and first, among those of equal
        distance (``ties="expected"``: the score again).
        """
        out = {metric.name: np.empty((3, len(self.ranking))) for metric in metrics}
        for rows in row_blocks(*self.gains.shape):
            block = Block(self.gains[rows], self.distances[rows], self.relevance.select(rows))
            orders = list(block.orders()) if ties == "order" else [block]
            for metric in metrics:
                out[metric.name][:, rows] = [metric.score(order, ties) for order in orders]
        return out

    def uncertain(self, metric):
        """Mask of the queries whose score could change if the ranking went deeper."""
        needs, n_missing = metric.needs, self.n_missing
        first = np.where(n_missing == self.n_positives, np.inf, 0)
        ends = {"all": np.inf, "ties": np.inf, "R": self.n_positives, "first": first}
        unseen = self.n_positives if needs == "ties" else n_missing
        return ~self.complete & (unseen > 0) & (self.n_ranked < ends.get(needs, needs))

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

    def ties_note(self, columns, ties):
        """How items at equal distances count, with the queries for which that matters; and whether a mean moves by it."""
        if ties == "expected":
            return "ties: expected over all orders of items at equal distances", False
        scored = self.n_positives > 0
        values, low, high = np.stack(list(columns.values()), axis=1)[:, :, scored]
        with np.errstate(invalid="ignore"):
            apart = np.abs(high - low) > _TIES_MATTER
            if not apart.any():
                return "ties: in the order of the ranking", False
            least = np.maximum(_TIES_MATTER, values.std(axis=1) / np.sqrt(values.shape[1]) / 2)
            low, high = low.mean(axis=1), high.mean(axis=1)
            moves = (np.abs(low - high) > least).any()
        bounds = zip(columns, low, high, apart.any(axis=1), strict=True)
        listed = ", ".join(f"{name} from {a:.4f} to {b:.4f}" for name, a, b, told in bounds if told)
        return (
            f"ties: in the order of the ranking; for {apart.any(axis=0).sum():,} of {scored.sum():,} "
            f"queries the order of right and wrong items at equal distances matters ({listed})"
        ), moves

    def rules(self, ties):
        """The lines of the protocol that hold for all metrics of a result."""
        ranking, relevance, scored = self.ranking, self.relevance, self.n_positives > 0
        depth = f"first {ranking.k:,} of {len(ranking.database_ids):,} database items"
        depth = "whole database" if self.complete.all() else depth
        n_self, own = int((relevance.own >= 0).sum()), "no query is an item of the database"
        if n_self and relevance.keep_self:
            own = "the query itself stays in the ranking and counts"
        elif n_self:
            own = f"the query itself{', by its id,' * relevance.by_id} is deleted from the ranking"
        n_junk = int(relevance.n_junk.sum()) - (0 if relevance.keep_self else n_self)
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

    def _align(self, ids, known, what, note):
        """Where `ids` are among those of the relevance, None if they are the same; notes how many of its ids are left."""
        if np.array_equal(ids, known):
            return None
        found = positions_of(ids, known, f"{what}_ids")
        if len(unknown := ids[found < 0]):
            which = f"{len(unknown)} of the {len(ids)} {what} ids, such as {unknown[0]!r},"
            raise ValueError(f"{which} are unknown to the relevance; build it from these")
        if len(ids) < len(known):
            self.notes.append(f"{len(known) - len(ids):,} {note}")
        return found

    def _check_own(self):
        """Raise ValueError where the relevance takes another picture of the same id for the query itself."""
        if self.ranking.own is None or self.relevance.keep_self:
            return
        for query in self.ranking.query_ids[(self.relevance.own >= 0) & (self.ranking.own < 0)][:1]:
            other = f"query {query!r} shares its id with a database image of other contents"
            raise ValueError(f"{other}; use images.relevance(queries, database)")

    def _find_complete(self, moved):
        n, relevance, n_junk = len(self.ranking.database_ids), self.relevance, self.relevance.n_junk
        if moved is not None and n < len(relevance.database_ids):
            # how much of the junk is in this smaller database is known of the query itself only
            n_junk = np.isin(relevance.own, moved) & (not relevance.keep_self)
        n_seen = np.count_nonzero(self.ranking.indices >= 0, axis=1)
        return (n_seen >= n) | (self.n_ranked >= n - n_junk)


def close_gaps(values, keep, fill):
    """Move the values under `keep` to the front of each row, in order, and put `fill` behind them."""
    if keep.all():
        return values
    out = np.full(values.shape, fill, dtype=values.dtype)
    out[np.arange(values.shape[1]) < keep.sum(axis=1)[:, None]] = values[keep]
    return out
