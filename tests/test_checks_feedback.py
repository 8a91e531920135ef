"""The checks of notebook 18: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np

from cbirkit import checks
from cbirkit.checks import feedback
from cbirkit.checks.feedback import FROZEN_MISTAKES, IDE_MISTAKES
from cbirkit.feedback import rocchio


def ide_by_loops(query, relevant, nonrelevant, scores):
    moved = [float(value) for value in query]
    for row in relevant:
        moved = [a + b for a, b in zip(moved, row, strict=True)]
    if len(scores):
        worst = list(scores).index(max(scores))
        moved = [a - b for a, b in zip(moved, nonrelevant[worst], strict=True)]
    return moved


def ide_with_weights(query, relevant, nonrelevant, scores):
    weights = np.arange(len(scores)) == (np.argmax(scores) if len(scores) else -1)
    return query + np.ones(len(relevant)) @ relevant - weights @ nonrelevant


def ide_by_sorting(query, relevant, nonrelevant, scores):
    first = np.argsort(-np.asarray(scores), kind="stable")[:1]
    return query + np.sum(relevant, axis=0) - np.sum(np.asarray(nonrelevant)[first], axis=0)


def ide_stacked(query, relevant, nonrelevant, scores):
    rows = [query, *relevant]
    if np.size(scores):
        rows.append(-nonrelevant[int(np.argmax(scores))])
    return np.stack(rows).sum(axis=0)


def frozen_by_loops(shown, ranking):
    places = []
    for part in [*shown, ranking]:
        for position in part:
            if position not in places:
                places.append(position)
    return places


def frozen_with_numpy(shown, ranking):
    every = np.concatenate([*shown, ranking]).astype(int)
    _, first = np.unique(every, return_index=True)
    return every[np.sort(first)]


def frozen_by_rank(shown, ranking):
    rank = {int(position): 10**6 + place for place, position in enumerate(ranking)}
    for place, position in reversed(list(enumerate(i for part in shown for i in part))):
        rank[int(position)] = place
    return np.array(sorted(rank, key=rank.get))


def frozen_with_isin(shown, ranking):
    seen = np.array([i for part in shown for i in part], dtype=int)
    seen = seen[[i not in seen[:n] for n, i in enumerate(seen)]] if len(seen) else seen
    return np.append(seen, ranking[~np.isin(ranking, seen)])


def centred_parts(embeddings, query):
    mean = np.mean(embeddings, axis=0)
    rows = np.vstack([np.asarray(query)[None], embeddings]) - mean
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[1:], rows[0]


def better_by_centring(embeddings, query, relevant, nonrelevant, beta=3.0, gamma=2.0):
    X, q = centred_parts(embeddings, query)
    return X @ rocchio(q, X[relevant], X[nonrelevant], beta=beta, gamma=gamma)


def better_with_other_weights(*given):
    return better_by_centring(*given, beta=4.0, gamma=2.5).tolist()


def better_by_neighbours(embeddings, query, relevant, nonrelevant, strength=3.0):
    X, q = centred_parts(embeddings, query)
    good = np.exp(strength * X @ np.vstack([q[None], X[relevant]]).T).mean(axis=1)
    bad = np.exp(strength * X @ X[nonrelevant].T).mean(axis=1) if len(nonrelevant) else 0
    return good - 0.5 * bad


CHECKS = {
    "ide_dec_hi": (checks.check_ide_dec_hi, ide_by_loops),
    "frozen_ranking": (checks.check_frozen_ranking, frozen_by_loops),
}
RIGHT = {
    "ide_dec_hi": [ide_by_loops, ide_with_weights, ide_by_sorting, ide_stacked],
    "frozen_ranking": [frozen_by_loops, frozen_with_numpy, frozen_by_rank, frozen_with_isin],
    "better_feedback": [
        better_by_centring,
        better_with_other_weights,
        better_by_neighbours,
        lambda *given: better_by_centring(*given) + 5.0,
    ],
}


def told(mistakes):
    """Each named mistake with the first words of its sentence."""
    return [(sentence[:25], wrong) for sentence, wrong in mistakes.items()]


def rocchio_of(**weights):
    def scores(embeddings, query, relevant, nonrelevant):
        return embeddings @ rocchio(query, embeddings[relevant], embeddings[nonrelevant], **weights)

    return scores


WRONG = {"ide_dec_hi": told(IDE_MISTAKES), "frozen_ranking": told(FROZEN_MISTAKES)}
WRONG["better_feedback"] = [
    ("shape ()", lambda *given: None),
    ("expected scores", lambda *given: "high"),
    ("shape ()", lambda *given: 0.0),
    ("shape (1,)", lambda *given: [1.0]),
    ("shape (1000, 256)", lambda embeddings, *given: embeddings),
    ("finite", lambda embeddings, *given: np.full(len(embeddings), np.nan)),
    ("reach", lambda embeddings, *given: np.zeros(len(embeddings))),
    ("reach", lambda embeddings, query, *given: embeddings @ query),
    ("reach", rocchio_of()),
    ("reach", rocchio_of(beta=3, gamma=2)),
    ("reach", lambda *given: -better_by_centring(*given)),
    ("reach", lambda *given: -rocchio_of(beta=3, gamma=3)(*given)),
    ("changes what it is given", lambda embeddings, *given: embeddings.fill(0)),
]


def test_a_stub_is_not_attempted():
    def stub(embeddings, query, relevant, nonrelevant):
        raise NotImplementedError

    assert checks.check_better_feedback(stub).status == "not attempted"


def test_sessions_of_the_open_exercise_show_nothing_of_the_half_that_is_judged():
    for embeddings, search, taste, half in feedback._sessions():
        marks = [*search.marked(True), *search.marked(False)]
        assert len(marks) in (24, 12) and not set(marks) & set(half)
        assert search.query_position not in half and taste[half].any()
        assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
