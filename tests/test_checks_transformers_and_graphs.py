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


RIGHT = [
    (checks.check_max_sim, max_by_scatter),
    (checks.check_max_sim, max_by_loops),
    (checks.check_max_sim, max_in_torch),
    (checks.check_attend, attend_by_loops),
    (checks.check_attend, attend_in_torch),
    (checks.check_propagate, propagate_sparse),
    (checks.check_propagate, propagate_by_loops),
]


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_right_answers_pass_in_any_type(check, answer, capfd):
    assert check(answer).passed, check(answer)
    assert capfd.readouterr().err == ""


MISTAKES = {
    checks.check_max_sim: module.TOKEN_MISTAKES,
    checks.check_attend: module.ATTENTION_MISTAKES,
    checks.check_propagate: module.GRAPH_MISTAKES,
}


@pytest.mark.parametrize(
    ("check", "sentence"), [(check, s) for check, known in MISTAKES.items() for s in known]
)
def test_known_mistakes_get_their_sentence(check, sentence):
    assert len(MISTAKES[check]) >= 10
    verdict = check(MISTAKES[check][sentence])
    assert verdict.status == "not yet" and sentence in verdict.message, verdict


def changing_its_input(vectors, edges, steps, restart):
    vectors *= 1.0
    vectors[:] = propagate_sparse(vectors.copy(), edges, steps, restart)
    return vectors


@pytest.mark.parametrize(
    ("check", "answer", "words"),
    [
        (checks.check_max_sim, lambda q, t, o, n: None, "return"),
        (checks.check_max_sim, lambda q, t, o, n: max_by_scatter(q, t, o, n)[:, None], "shape"),
        (checks.check_max_sim, lambda q, t, o, n: max_by_scatter(q, t, o, n + 1), "shape"),
        (checks.check_attend, lambda q, k, v, m: v, "for "),
        (checks.check_attend, lambda q, k, v, m: attend_by_loops(q, k, v, m)[0], "shape"),
        (checks.check_propagate, changing_its_input, ""),
        (checks.check_propagate, lambda X, e, s, r: propagate_sparse(X, e, s, r).T, "shape"),
        (checks.check_propagate, lambda X, e, s, r: 1 / 0, "ZeroDivisionError"),
        (checks.check_propagate, "no function", "function"),
    ],
)
def test_other_wrong_answers_are_rejected(check, answer, words):
    verdict = check(answer)
    assert verdict.status == "not yet" and words in verdict.message, verdict


def stub(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("check", [*MISTAKES, checks.check_better_ranking])
def test_a_stub_is_not_attempted(check):
    assert check(stub).status == "not attempted"


def smoothed(queries, database):
    """Database-side expansion, then diffusion on what came of it."""
    cosines = database @ database.T
    near = np.argsort(-cosines, axis=1)[:, :11]
    rows = database[near].mean(axis=1)
    asked = database[np.argsort(-queries @ database.T, axis=1)[:, :10]].mean(axis=1) + queries / 10
    return Diffusion(30, alpha=0.8).fit(rows).scores(asked)


def test_a_better_ranking_passes_as_array_list_and_tensor():
    for kind in (np.asarray, np.ndarray.tolist, torch.from_numpy):
        verdict = checks.check_better_ranking(lambda q, x, kind=kind: kind(smoothed(q, x)))
        assert verdict.passed, verdict


def looks_at_other_queries(queries, database):
    return smoothed(queries - queries.mean(axis=0), database)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda q, x: q @ x.T, "your mAP is"),
        (lambda q, x: -(q @ x.T), "your mAP is"),
        (lambda q, x: np.zeros((len(q), len(x))), "your mAP is"),
        (lambda q, x: Diffusion().fit(x).scores(q), "your mAP is"),
        (lambda q, x: Diffusion(alpha=0.99).fit(x).scores(q), "your mAP is"),
        (lambda q, x: smoothed(q, x).T, "shape"),
        (lambda q, x: smoothed(q, x)[:, :-1], "shape"),
        (lambda q, x: np.argsort(-smoothed(q, x), axis=1), "your mAP is"),
        (lambda q, x: np.full((len(q), len(x)), np.nan), "NaN"),
        (lambda q, x: None, "shape"),
        (lambda q, x: "scores", "table"),
        (lambda q, x: q.fill(0), "copy"),
        (looks_at_other_queries, "asked together"),
        (lambda q, x: 1 / 0, "ZeroDivisionError"),
        (3, "function"),
    ],
)
def test_rankings_that_are_not_better_are_told_why(answer, words):
    verdict = checks.check_better_ranking(answer)
    assert verdict.status == "not yet" and words in verdict.message, verdict
