"""Checks of notebook 10: MaxSim, attention with a mask, propagation with a restart, and an open one on re-ranking."""

from functools import partial

import numpy as np

from .running import Verdict, ahead, call, mean_precision, no_numbers, open_answer, run_check


def check_max_sim_of_any(answer):
    """Check ``max_sim_of_any(query, tokens, owners, n_images)``: late interaction with images of different numbers of tokens.

    Parameters
    ----------
    answer : callable
        Takes `query` (m, d), the tokens of a query, `tokens` (n, d), those of all images in any order, `owners` (n,), the number of the
        image that each is of, and `n_images`; returns (n_images,): the sum over the query's tokens of the largest dot product
        with a token of the image, minus infinity for an image without a token.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_max_sim_of_any(lambda query, tokens, owners, n_images: np.zeros(n_images)).passed
    False
    """
    return run_check(answer, _max_sim_of_any, _token_cases(), mistakes=TOKEN_MISTAKES)


def _by_image(score, empty=-np.inf):
    def scores(query, tokens, owners, n_images):
        tables = [query @ tokens[owners == image].T for image in range(n_images)]  # (m, t) each
        return np.array([score(table) if table.shape[1] else empty for table in tables])

    return scores


def _max_sim_of_any(query, tokens, owners, n_images):
    return _by_image(lambda table: table.max(axis=1).sum())(query, tokens, owners, n_images)


def _token_cases():
    random = np.random.RandomState(0)
    x, y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    pair = np.stack([x, y])
    yield from [
        ("one image that holds both tokens of the query", pair, pair, np.array([0, 0]), 1),
        (
            "two images, the first with one of the two tokens",
            pair,
            np.stack([x, x, y]),
            np.array([0, 1, 1]),
            2,
        ),
        ("tokens in any order", pair, np.stack([y, x, x]), np.array([1, 0, 1]), 2),
        ("an image without tokens", pair, np.stack([x, y]), np.array([0, 2]), 3),
        ("no tokens at all", pair, np.zeros((0, 2)), np.array([], dtype=int), 2),
        ("products below 0", -pair, np.stack([x, (x + y) / 2]), np.array([0, 1]), 2),
        ("a token that an image holds twice", pair, np.stack([x, x, y]), np.array([0, 0, 1]), 2),
        (
            "a query of one token",
            random.randn(1, 5),
            random.randn(7, 5),
            random.randint(0, 3, 7),
            4,
        ),
        (
            "six tokens against forty of ten images",
            random.randn(6, 8),
            random.randn(40, 8),
            random.randint(0, 9, 40),
            10,
        ),
    ]


def _last_token(query, tokens, owners, n_images):
    best = np.full((n_images, len(query)), -np.inf)
    best[owners] = np.maximum(best[owners], tokens @ query.T)
    return best.sum(axis=1)


TOKEN_MISTAKES = {
    "This is the other way round: for each token *of the query* take the best token of the image.": _by_image(
        lambda table: table.max(axis=0).sum()
    ),
    "This is the single best pair of tokens: sum over the tokens of the query.": _by_image(np.max),
    "This is the mean over all pairs, which is the product of the two mean vectors: take the maximum first.": _by_image(
        np.mean
    ),
    "This is the sum over all pairs: images with many tokens win. Take the maximum first.": _by_image(
        np.sum
    ),
    "You took the mean over the query's tokens; here it is the sum.": _by_image(
        lambda table: table.max(axis=1).mean()
    ),
    "An image without tokens has minus infinity, not 0: products may be below 0.": _by_image(
        lambda table: table.max(axis=1).sum(), 0.0
    ),
    "You began with 0: where all products are below 0, the largest is below 0 too.": _by_image(
        lambda table: np.maximum(table.max(axis=1), 0).sum()
    ),
    "`best[owners] = …` uses an index that repeats only once, so that the last token wins: use np.maximum.at or a loop.": _last_token,
    "This is the worst token for each token of the query: take the largest product.": _by_image(
        lambda table: table.min(axis=1).sum()
    ),
    "This is the *first* token of each image.": _by_image(lambda table: table[:, 0].sum()),
    "Here the products themselves are asked for, not cosines: the lengths are to stay.": lambda q, t, o, n: (
        _max_sim_of_any(*(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (q, t)), o, n)
    ),
    "Images without tokens are missing: return a score for each of `n_images`.": lambda q, t, o, n: (
        _max_sim_of_any(q, t, o, n)[np.unique(o)]
    ),
    "An image without tokens has no NaN but minus infinity, so that it comes last.": _by_image(
        lambda table: table.max(axis=1).sum(), np.nan
    ),
}  # fmt: skip


def check_attend(answer):
    """Check ``attend(queries, keys, values, mask)``: attention of one head, with a mask.

    Parameters
    ----------
    answer : callable
        Takes `queries` (n, d), `keys` (m, d), `values` (m, c) and `mask` (n, m), True where a query may look; returns (n, c):
        values weighted by the softmax, over the keys that may be seen, of q . k / sqrt(d). A query that may see nothing gets zeros.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_attend(lambda queries, keys, values, mask: values).passed
    False
    """
    return run_check(answer, _attend, _attention_cases(), mistakes=ATTENTION_MISTAKES)


def _attend(queries, keys, values, mask, *, scale=None, axis=1, after=False, hidden=-np.inf):
    scale = np.sqrt(queries.shape[1]) if scale is None else scale
    logits = queries @ keys.T / scale
    logits = logits if after else np.where(mask, logits, hidden)
    peak = logits.max(axis=axis, keepdims=True, initial=-1e300)
    weights = np.exp(logits - peak)
    total = weights.sum(axis=axis, keepdims=True)
    weights = weights / np.where(total > 0, total, 1)
    return (weights * mask if after else weights) @ values


def _attention_cases():
    random = np.random.RandomState(1)

    def drawn(n, m, d, c, visible):
        return *(random.randn(*shape) for shape in ((n, d), (m, d), (m, c))), visible

    yield from [
        ("two tokens that see one another", *drawn(2, 2, 3, 2, np.ones((2, 2), bool))),
        ("each token sees itself only", *drawn(4, 4, 3, 3, np.eye(4, dtype=bool))),
        ("each token sees itself and those before", *drawn(5, 5, 4, 6, np.tri(5, dtype=bool))),
        (
            "two queries and five keys",
            *drawn(2, 5, 4, 3, np.array([[1, 0, 1, 0, 0], [1, 1, 1, 1, 1]], bool)),
        ),
        (
            "a query that may see nothing",
            *drawn(3, 3, 2, 2, np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)),
        ),
        (
            "logits beyond 1,000",
            300 * np.eye(3),
            40 * np.eye(3),
            random.randn(3, 2),
            np.array([[1, 1, 1], [0, 1, 1], [1, 1, 0]], bool),
        ),
        (
            "a hidden key with a huge logit",
            np.ones((1, 2)),
            np.array([[900.0, 900], [0, 1]]),
            np.array([[1.0], [2]]),
            np.array([[False, True]]),
        ),
        ("values without columns of their own", *drawn(3, 4, 2, 1, random.rand(3, 4) < 0.6)),
    ]


def _overflowing(queries, keys, values, mask):
    with np.errstate(all="ignore"):
        weights = np.exp(queries @ keys.T / np.sqrt(queries.shape[1])) * mask
        total = weights.sum(axis=1, keepdims=True)
        return weights / np.where(total > 0, total, 1) @ values


def _without_peak(queries, keys, values, mask):
    with np.errstate(all="ignore"):
        weights = np.exp(np.where(mask, queries @ keys.T / np.sqrt(queries.shape[1]), -np.inf))
        return weights / weights.sum(axis=1, keepdims=True) @ values


ATTENTION_MISTAKES = {
    "The mask is not used.": lambda q, k, v, m: _attend(q, k, v, np.ones_like(m)),
    "The mask is the wrong way round: True is where a query may look.": lambda q, k, v, m: _attend(q, k, v, ~m),
    "You masked after the softmax, so that the weights of a row do not sum to 1.": partial(_attend, after=True),
    "The division by sqrt(d) is missing.": partial(_attend, scale=1.0),
    "You divided by d; it is the root of d.": lambda q, k, v, m: _attend(q, k, v, m, scale=q.shape[1]),
    "The softmax runs over the queries: the weights of each *query* sum to 1, axis=1.": partial(_attend, axis=0),
    "A hidden logit of 0 still has the weight exp(0) = 1: use minus infinity.": partial(_attend, hidden=0.0),
    "exp overflows for large logits: subtract the largest of each row first.": _overflowing,
    "A row without a key gives 0 / 0, and large logits overflow: subtract the peak, and let such rows be zeros.": _without_peak,
    "A query that may see nothing got the mean of all values: it gets zeros.": partial(_attend, hidden=-1e30),
    "You divided by the root of the number of keys: it is that of d, the length of a query.": lambda q, k, v, m: (
        _attend(q, k, v, m, scale=np.sqrt(len(k)))
    ),
    "This gives the value of the nearest key (hard attention), not a weighted mean.": lambda q, k, v, m: (
        _attend(1e6 * q, k, v, m)
    ),
    "Queries and keys are swapped.": lambda q, k, v, m: (
        _attend(k, q, v, m.T if m.shape[0] == m.shape[1] else m) if len(q) == len(k) else v[: len(q)]
    ),
}  # fmt: skip


def check_propagate(answer):
    """Check ``propagate(vectors, edges, steps, restart)``: propagation that remembers where it began (APPNP).

    Parameters
    ----------
    answer : callable
        Takes `vectors` X (n, d), `edges` (m, 2) of positions, without direction, where a pair may stand several times, in both orders, or
        be an item and itself, `steps` and `restart` in [0, 1]; returns Z (n, d): from Z = X, `steps` times
        Z <- (1 - restart) S Z + restart X, with A 1 for each pair and on the diagonal, and S = D^-1/2 A D^-1/2.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_propagate(lambda vectors, edges, steps, restart: vectors).passed
    False
    """
    return run_check(answer, _propagate, _graph_cases(), mistakes=GRAPH_MISTAKES)


def _adjacency(n, edges, *, loops=True, both=True, count=False):
    A = np.zeros((n, n))
    i, j = np.asarray(edges, dtype=int).reshape(-1, 2).T
    np.add.at(A, (i, j), 1)
    A = A + A.T if both else A
    A = A if count else (A > 0).astype(float)
    if loops:
        A = A + np.eye(n) if count else np.maximum(A, np.eye(n))
    return A


def _propagate(
    vectors, edges, steps, restart, *, graph=None, left=0.5, right=0.5, start="first", fixed=True
):
    A = _adjacency(len(vectors), edges) if graph is None else graph(len(vectors), edges)
    degrees = A.sum(axis=1)
    degrees = np.where(degrees > 0, degrees, 1)
    S = A / degrees[:, None] ** left / degrees[None] ** right
    Z = vectors.astype(float)
    for _ in range(max(steps, 0)):
        back = vectors if start == "first" else Z
        Z = (1 - restart) * (S @ Z) + restart * back
    return Z


def _graph_cases():
    random = np.random.RandomState(2)
    chain, none = np.array([[0, 1], [1, 2], [2, 3]]), np.zeros((0, 2), int)
    yield from [
        ("two items and an edge, one step", np.eye(2), np.array([[0, 1]]), 1, 0.0),
        ("a chain of four, two steps", np.eye(4), chain, 2, 0.0),
        ("a chain of four, three steps and a restart of 0.2", random.randn(4, 3), chain, 3, 0.2),
        ("no step", random.randn(4, 2), chain, 0, 0.3),
        ("no edges", random.randn(3, 2), none, 2, 0.1),
        ("an item without an edge", random.randn(5, 2), chain, 2, 0.1),
        ("a pair that stands twice, and in both orders", np.eye(3), np.array([[0, 1], [1, 0], [0, 1], [1, 2]]), 2, 0.0),
        ("an edge from an item to itself", np.eye(3), np.array([[0, 0], [0, 1], [1, 2]]), 2, 0.1),
        ("a restart of 1", random.randn(4, 2), chain, 3, 1.0),
        ("a star, whose middle has many neighbours", random.randn(6, 3), np.array([[0, i] for i in range(1, 6)]), 2, 0.15),
        ("30 items, 60 random edges, ten steps", random.randn(30, 4), random.randint(0, 30, (60, 2)), 10, 0.1),
        ("whole numbers", np.arange(8).reshape(4, 2), chain, 1, 0.5),
    ]  # fmt: skip


GRAPH_MISTAKES = {
    "The diagonal is missing: each item is its own neighbour, A + I.": partial(_propagate, graph=partial(_adjacency, loops=False)),
    "The edges have no direction: A[j, i] is 1 as well as A[i, j].": partial(_propagate, graph=partial(_adjacency, both=False)),
    "A pair that stands twice is one edge: set A to 1, do not add.": partial(_propagate, graph=partial(_adjacency, count=True)),
    "This is D^-1 A, the mean over the neighbours: divide by the roots of both degrees.": partial(_propagate, left=1, right=0),
    "This is A D^-1: divide by the roots of both degrees.": partial(_propagate, left=0, right=1),
    "You divided by both degrees, not by their roots.": partial(_propagate, left=1, right=1),
    "A is not divided by anything, so that lengths grow with the degrees.": partial(_propagate, left=0, right=0),
    "The restart goes back to X, where it began, not to the Z before.": partial(_propagate, start="last"),
    "The restart is not used.": lambda X, edges, steps, restart: _propagate(X, edges, steps, 0.0),
    "restart and 1 - restart are swapped.": lambda X, edges, steps, restart: _propagate(X, edges, steps, 1 - restart),
    "That is one step too many.": lambda X, edges, steps, restart: _propagate(X, edges, steps + 1, restart),
    "That is one step too few.": lambda X, edges, steps, restart: _propagate(X, edges, steps - 1, restart),
    "The rows are of length 1: Z is asked for as it is.": lambda *given: (
        (Z := _propagate(*given)) / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-12)
    ),
}  # fmt: skip

_SECONDS, _GAIN = 20.0, 0.02


def check_better_ranking(answer):
    """Check ``better_ranking(queries, database)``, an open exercise: rank better than diffusion does.

    Parameters
    ----------
    answer : callable
        Takes `queries` (n, d) and `database` (m, d), vectors of length 1; returns scores (n, m), larger is nearer. It is run on aerial
        images (`datasets.load_real("satellite")`, "lite0"), on three draws of four classes with 15 queries each, and must reach the mAP
        of ``Diffusion()`` as it comes plus 0.02, on average.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_better_ranking(lambda queries, database: queries @ database.T).status
    'not yet'
    """
    from cbirkit.rerank import Diffusion

    ours, theirs = [], []
    for seed in range(3):
        queries, database, relevant = _aerial(seed)
        given, fault = (
            (queries, database),
            partial(no_numbers, relevant.shape, what="scores", good=_known),
        )
        scores, ended = open_answer("better_ranking", answer, given, _SECONDS, fault)
        if not ended and seed == 0 and (told := _looks_around(answer, queries, database, scores)):
            ended = Verdict("better_ranking", "not yet", told)
        if ended:
            return ended
        ours.append(mean_precision(np.asarray(scores, dtype=float), relevant))
        theirs.append(mean_precision(Diffusion().fit(database).scores(queries), relevant))
    told = "mAP is {:.3f}, that of diffusion {:.3f} (mean of three draws)"
    why = "which of k, steps and restart did you choose on other classes?"
    return ahead("better_ranking", ours, theirs, _GAIN, told, why)


def _aerial(seed):
    """Queries and database of four of seven classes, and which items are relevant."""
    from cbirkit.datasets import load_real

    features, random = load_real("satellite"), np.random.RandomState(seed)
    vectors, labels = features.embeddings("lite0").astype(float), features.labels.astype(str)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked, other = [], []
    for label in random.permutation(np.unique(labels))[:4]:
        rows = random.permutation(np.flatnonzero(labels == label))
        asked, other = [*asked, *rows[:15]], [*other, *rows[15:]]
    other = random.permutation(other)
    return vectors[asked], vectors[other], labels[asked][:, None] == labels[other]


def _looks_around(answer, queries, database, value):
    """A complaint where the scores of a query depend on which others are asked with it."""
    again = call(answer, (queries[:7], database), _SECONDS)
    if again.error is None and np.allclose(
        np.asarray(again.value, float), np.asarray(value)[:7], atol=1e-5
    ):
        return None
    return "a query gets other scores when fewer are asked together: build the graph from the database alone, never from the queries."


def _known(scores):
    """Which scores are numbers; infinite ones are."""
    return ~np.isnan(scores)
