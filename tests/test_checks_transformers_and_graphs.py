"""The checks of notebook 10: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn import functional as F

from cbirkit import checks
from cbirkit.checks import transformers_and_graphs as module
from cbirkit.rerank import Diffusion


def max_by_scatter(query, tokens, owners, n_images):
    best = np.full((n_images, len(query)), -np.inf)
    np.maximum.at(best, owners, tokens @ query.T)
    return best.sum(axis=1)


def max_by_loops(query, tokens, owners, n_images):
    scores = []
    for image in range(n_images):
        mine = [t for t, owner in zip(tokens, owners, strict=True) if owner == image]
        scores.append(sum(max((float(q @ t) for t in mine), default=-np.inf) for q in query))
    return scores


def max_in_torch(query, tokens, owners, n_images):
    table = torch.full((n_images, len(query)), -torch.inf, dtype=torch.float64)
    where = torch.from_numpy(np.asarray(owners))[:, None].expand(-1, len(query))
    return table.scatter_reduce(0, where, torch.from_numpy(tokens @ query.T), "amax").sum(dim=1)


def attend_by_loops(queries, keys, values, mask):
    out = np.zeros((len(queries), values.shape[1]))
    for row, q in enumerate(queries):
        seen = np.flatnonzero(mask[row])
        if len(seen):
            logits = keys[seen] @ q / len(q) ** 0.5
            weights = np.exp(logits - logits.max())
            out[row] = weights @ values[seen] / weights.sum()
    return out.tolist()


def attend_in_torch(queries, keys, values, mask):
    given = (torch.from_numpy(np.asarray(x, dtype=float))[None] for x in (queries, keys, values))
    found = F.scaled_dot_product_attention(*given, attn_mask=torch.from_numpy(mask)[None])[0]
    return torch.where(torch.from_numpy(mask).any(dim=1, keepdim=True), found, 0.0)


def propagate_sparse(vectors, edges, steps, restart):
    n, edges = len(vectors), np.asarray(edges)
    ones = np.ones(len(edges))
    A = sp.coo_matrix((ones, (edges[:, 0], edges[:, 1])), (n, n)).tocsr()
    A = ((A + A.T + sp.eye(n)) > 0).astype(float)
    roots = sp.diags(np.asarray(A.sum(axis=1)).ravel() ** -0.5)
    Z = vectors
    for _ in range(steps):
        Z = (1 - restart) * (roots @ A @ roots @ Z) + restart * vectors
    return Z


def propagate_by_loops(vectors, edges, steps, restart):
    n = len(vectors)
    near = [{i} for i in range(n)]
    for i, j in edges:
        near[i].add(int(j))
        near[j].add(int(i))
    Z = [list(map(float, row)) for row in vectors]
    for _ in range(steps):
        new = []
        for i in range(n):
            total = np.zeros(vectors.shape[1])
            for j in near[i]:
                total += np.array(Z[j]) / (len(near[i]) * len(near[j])) ** 0.5
            new.append(((1 - restart) * total + restart * vectors[i]).tolist())
        Z = new
    return Z


CHECKS = {
    "max_sim_of_any": (checks.check_max_sim_of_any, max_by_scatter),
    "attend": (checks.check_attend, attend_by_loops),
    "propagate": (checks.check_propagate, propagate_sparse),
}
MISTAKES = {
    "max_sim_of_any": module.TOKEN_MISTAKES,
    "attend": module.ATTENTION_MISTAKES,
    "propagate": module.GRAPH_MISTAKES,
}


def in_types(function):
    """A right answer, and the same as a list, in single precision and as a tensor."""
    return [
        function,
        lambda *given: np.asarray(function(*given)).tolist(),
        lambda *given: np.asarray(function(*given), dtype=np.float32),
        lambda *given: torch.from_numpy(np.asarray(function(*given), dtype=float)),
    ]


def smoothed(queries, database):
    """Database-side expansion, then diffusion on what came of it."""
    cosines = database @ database.T
    near = np.argsort(-cosines, axis=1)[:, :11]
    rows = database[near].mean(axis=1)
    asked = database[np.argsort(-queries @ database.T, axis=1)[:, :10]].mean(axis=1) + queries / 10
    return Diffusion(30, alpha=0.8).fit(rows).scores(asked)


RIGHT = {
    "max_sim_of_any": [max_by_loops, max_in_torch, *in_types(max_by_scatter)],
    "attend": [attend_in_torch, *in_types(attend_by_loops)],
    "propagate": [propagate_by_loops, *in_types(propagate_sparse)],
    "better_ranking": in_types(smoothed),
}


def changing_its_input(vectors, edges, steps, restart):
    vectors *= 1.0
    vectors[:] = propagate_sparse(vectors.copy(), edges, steps, restart)
    return vectors


def looks_at_other_queries(queries, database):
    return smoothed(queries - queries.mean(axis=0), database)


WRONG = {
    name: [(sentence, answer) for sentence, answer in known.items()]
    for name, known in MISTAKES.items()
}
WRONG["max_sim_of_any"] += [
    ("return", lambda q, t, o, n: None),
    ("shape", lambda q, t, o, n: max_by_scatter(q, t, o, n)[:, None]),
    ("shape", lambda q, t, o, n: max_by_scatter(q, t, o, n + 1)),
]
WRONG["attend"] += [
    lambda q, k, v, m: v,
    ("shape", lambda q, k, v, m: attend_by_loops(q, k, v, m)[0]),
]
WRONG["propagate"] += [
    ("", changing_its_input),
    ("shape", lambda X, e, s, r: propagate_sparse(X, e, s, r).T),
    ("ZeroDivisionError", lambda X, e, s, r: 1 / 0),
    ("function", "no function"),
]
WRONG["better_ranking"] = [
    ("your mAP is", lambda q, x: q @ x.T),
    ("your mAP is", lambda q, x: -(q @ x.T)),
    ("your mAP is", lambda q, x: np.zeros((len(q), len(x)))),
    ("your mAP is", lambda q, x: Diffusion().fit(x).scores(q)),
    ("your mAP is", lambda q, x: Diffusion(alpha=0.99).fit(x).scores(q)),
    ("shape", lambda q, x: smoothed(q, x).T),
    ("shape", lambda q, x: smoothed(q, x)[:, :-1]),
    ("your mAP is", lambda q, x: np.argsort(-smoothed(q, x), axis=1)),
    ("NaN", lambda q, x: np.full((len(q), len(x)), np.nan)),
    ("shape", lambda q, x: None),
    ("expected scores", lambda q, x: "scores"),
    ("copy", lambda q, x: q.fill(0)),
    ("asked together", looks_at_other_queries),
    ("ZeroDivisionError", lambda q, x: 1 / 0),
    ("function", 3),
]


def test_ten_mistakes_of_each_exercise_are_known_by_name():
    assert min(map(len, MISTAKES.values())) >= 10


def stub(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize(
    "check", [*(check for check, _ in CHECKS.values()), checks.check_better_ranking]
)
def test_a_stub_is_not_attempted(check):
    assert check(stub).status == "not attempted"
