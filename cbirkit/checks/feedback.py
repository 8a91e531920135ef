"""Checks of notebook 18: Ide's formula, frozen rankings, and scores that learn from marks of people who err (open)."""

from functools import partial

import numpy as np

from .running import ahead, mean_precision, no_numbers, open_answer, run_check

_GAIN, _SECONDS = 0.015, 20.0


def check_ide_dec_hi(answer):
    """Check ``ide_dec_hi(query, relevant, nonrelevant, scores)``: Ide's formula, which subtracts the worst mistake only.

    Parameters
    ----------
    answer : callable
        Takes `query` (d,), `relevant` (k, d), `nonrelevant` (m, d), either of which may have no row, and the `scores` (m,) that the search
        gave to the nonrelevant ones; returns query + sum of relevant - the nonrelevant row of the highest score, (d,). Of equal scores
        the first counts.

    Returns
    -------
    Verdict

    References
    ----------
    Ide, "New experiments in relevance feedback", in Salton (ed.), The SMART Retrieval System, 1971.

    Examples
    --------
    >>> check_ide_dec_hi(lambda query, relevant, nonrelevant, scores: query).passed
    False
    """
    return run_check(answer, _ide_dec_hi, _ide_cases(), mistakes=IDE_MISTAKES)


def _ide_dec_hi(query, good, bad, scores, pull=None, push=None, keep=1):
    query, good, bad = (np.asarray(one, float) for one in (query, good, bad))
    push = push or (lambda rows, s: rows[np.argmax(s)])
    pulled = (pull or (lambda rows: rows.sum(axis=0)))(good) if len(good) else 0
    return keep * query + pulled - (push(bad, np.asarray(scores)) if len(bad) else 0)


def _ide_cases():
    random = np.random.RandomState(0)
    for about, k, m in (("two of each kind", 2, 2), ("nothing relevant", 0, 3), ("nothing marked not relevant", 3, 0),
                        ("no mark", 0, 0), ("one of each kind", 1, 1), ("ten and twelve marks", 10, 12)):  # fmt: skip
        yield about, random.randn(4), random.randn(k, 4), random.randn(m, 4), random.randn(m)
    for about, scores in (
        ("equal scores", [0.5, 0.5, 0.1]),
        ("scores below 0", [-3.0, -1.0, -2.0]),
    ):
        yield about, random.randn(3), random.randn(2, 3), random.randn(3, 3), np.array(scores)


IDE_MISTAKES = {
    "You average the relevant ones: Ide adds them up.": partial(_ide_dec_hi, pull=lambda rows: rows.mean(axis=0)),
    "You subtract all that is not relevant: only the one of the highest score.": partial(_ide_dec_hi, push=lambda rows, s: rows.sum(axis=0)),
    "This is the mean of what is not relevant, as Rocchio's: subtract one of them.": partial(_ide_dec_hi, push=lambda rows, s: rows.mean(axis=0)),
    "You took the lowest score: the worst mistake is the one ranked highest.": partial(_ide_dec_hi, push=lambda rows, s: rows[np.argmin(s)]),
    "You took the first row: look for the highest score.": partial(_ide_dec_hi, push=lambda rows, s: rows[0]),
    "You took the score without its sign.": partial(_ide_dec_hi, push=lambda rows, s: rows[np.argmax(np.abs(s))]),
    "Of equal scores, the first counts.": partial(_ide_dec_hi, push=lambda rows, s: rows[len(s) - 1 - np.argmax(s[::-1])]),
    "You add the mistake: subtract it.": partial(_ide_dec_hi, push=lambda rows, s: -rows[np.argmax(s)]),
    "The mistake is subtracted whole, not times its score.": partial(_ide_dec_hi, push=lambda rows, s: rows[np.argmax(s)] * s.max()),
    "The query itself is missing.": partial(_ide_dec_hi, keep=0),
    "The relevant ones are missing.": partial(_ide_dec_hi, pull=lambda rows: 0),
    "What is not relevant is missing.": partial(_ide_dec_hi, push=lambda rows, s: 0),
}  # fmt: skip


def check_frozen_ranking(answer):
    """Check ``frozen_ranking(shown, ranking)``: what a person has seen stays where they saw it.

    Parameters
    ----------
    answer : callable
        Takes `shown`, a list with an array of positions for each round, and the `ranking` after the last round, all positions, best
        first; returns all positions: those shown, in the order in which they were, then the others as ranked. What was shown twice stays
        where it was first.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_frozen_ranking(lambda shown, ranking: ranking).passed
    False
    """
    return run_check(answer, _frozen_ranking, _frozen_cases(), mistakes=FROZEN_MISTAKES)


def _frozen_ranking(shown, ranking, order=list, rest=list, once=dict.fromkeys):
    seen = order([int(i) for part in shown for i in part])
    left = rest([int(i) for i in ranking if int(i) not in seen])
    return np.array(list(once(seen + left)), dtype=np.int64)


def _frozen_cases():
    random = np.random.RandomState(1)
    for about, n, sizes in (("one round", 6, [2]), ("two rounds", 8, [3, 2]), ("no round", 4, []), ("a round that showed nothing", 5, [2, 0, 1]),
                            ("all images shown", 5, [2, 3]), ("twenty images", 20, [4, 4, 4])):  # fmt: skip
        drawn = (
            np.split(random.permutation(n)[: sum(sizes)], np.cumsum(sizes)[:-1]) if sizes else []
        )
        yield about, drawn, random.permutation(n)
    yield "images that were shown twice", [np.array([4, 1]), np.array([1, 3])], np.array([5, 3, 1, 0, 2, 4])  # fmt: skip


def _n_shown(shown):
    return len({int(i) for part in shown for i in part})


FROZEN_MISTAKES = {
    "What was shown is left out: that is the residual ranking. Here it stays in front.": lambda shown, ranking: _frozen_ranking(shown, ranking)[_n_shown(shown) :],
    "You sort what was shown: keep the order in which it was.": partial(_frozen_ranking, order=sorted),
    "What was shown stands last: it stays in front.": lambda shown, ranking: np.roll(_frozen_ranking(shown, ranking), -_n_shown(shown)),
    "The last round stands first: keep the order of the rounds.": lambda shown, ranking: _frozen_ranking(shown[::-1], ranking),
    "Only the last round is frozen: all are.": lambda shown, ranking: _frozen_ranking(shown[-1:], ranking),
    "Only the first round is frozen: all are.": lambda shown, ranking: _frozen_ranking(shown[:1], ranking),
    "You sort what was not shown: it keeps the new ranking.": partial(_frozen_ranking, rest=sorted),
    "What was not shown is missing.": partial(_frozen_ranking, rest=lambda left: []),
    "What was not shown stands in reverse.": partial(_frozen_ranking, rest=lambda left: left[::-1]),
    "What was shown stands in the new order: people saw it in the old one.": lambda shown, ranking: _frozen_ranking([[i for i in ranking if any(i in part for part in shown)]], ranking),
    "An image that was shown twice stands there twice: keep its first place.": partial(_frozen_ranking, once=list),
}  # fmt: skip


def check_better_feedback(answer):
    """Check ``better_feedback(embeddings, query, relevant, nonrelevant)``, an open exercise: learn more from the same marks.

    Parameters
    ----------
    answer : callable
        Takes `embeddings` (n, d) and `query` (d,) of length 1, and the positions marked `relevant` and `nonrelevant`, (k,) and (m,); returns
        a score for each image, (n,), larger is better. It is run on the marks of 63 sessions (clothing and UC Merced, one mark in ten
        wrong), and must reach, in the half that was not shown, the mAP of Rocchio with ``beta=3, gamma=2`` plus 0.015.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_better_feedback(lambda embeddings, query, relevant, nonrelevant: 0).status
    'not yet'
    """
    name, ours, theirs = "better_feedback", [], []
    for embeddings, search, taste, half in _sessions():
        given = embeddings, search.query, search.marked(True), search.marked(False)
        scores, ended = open_answer(name, answer, given, _SECONDS, partial(no_numbers, (len(embeddings),), what="scores"))  # fmt: skip
        if ended:
            return ended
        for kept, values in ((ours, np.asarray(scores, float)), (theirs, search.scores())):
            kept.append(mean_precision(values[half][None], taste[half][None]))
    why = "what do all embeddings have in common?"
    return ahead(name, ours, theirs, _GAIN, "mAP is {:.3f}, Rocchio's {:.3f}", why)


def _sessions():
    """Embeddings, a search with its marks, what is relevant, and the half that was not shown."""
    from cbirkit.datasets import load_real
    from cbirkit.feedback import FeedbackSearch, SimulatedUser

    for name, n, per_class in (("clothing", 8, 3), ("ucmerced", 4, 2)):
        features, random = load_real(name), np.random.RandomState(5)
        embeddings = features.embeddings("lite0").astype(float)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        half = random.permutation(len(features))[: len(features) // 2]
        for label in np.unique(features.labels):
            taste = features.labels == label
            for query in np.setdiff1d(np.flatnonzero(taste), half)[:per_class]:
                search = FeedbackSearch(embeddings, int(query), beta=3, gamma=2)
                user = SimulatedUser(taste, noise=0.1, patience=3 * n, random_state=int(query))
                for _ in range(3):
                    for position, relevant in user.judge(search.to_show(n, among=np.setdiff1d(np.arange(len(taste)), half))):  # fmt: skip
                        search.mark(position, relevant)
                yield embeddings, search, taste, half
