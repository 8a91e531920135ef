"""The checks of notebook 13: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from cbirkit import checks


def solved_quantised(x, low, high):
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    step = (high - low) / 255 if high > low else 1.0
    return (np.rint(np.asarray(x) / step) + np.rint(-low / step)).clip(0, 255).astype(np.uint8)


def solved_cut(embeddings, n_dims):
    out = np.zeros((len(embeddings), n_dims), np.int8)
    for row, embedding in zip(out, embeddings, strict=True):
        part = embedding[:n_dims]
        if part.any():
            row[:] = np.rint(127 * part / np.sqrt(part @ part))
    return out


def solved_sixteen(reference, embeddings, n_dims=16):
    fitted = PCA(n_dims, random_state=0).fit(reference)
    reach = np.abs(fitted.transform(reference)).max()
    codes = 127.5 + 127.5 * fitted.transform(embeddings) / reach
    out = np.zeros((len(embeddings), 16), np.uint8)
    out[:, :n_dims] = np.clip(np.rint(codes), 0, 255)
    return out


CHECKS = {
    "quantised": (checks.check_quantised, solved_quantised),
    "cut": (checks.check_cut, solved_cut),
}


def quantised_in_torch(x, low, high):
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255 or 1.0
    codes = torch.round(torch.from_numpy(x) / step) + round(-low / step)
    return codes.clamp(0, 255).to(torch.uint8)


def quantised_by_value(x, low, high):
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255 or 1.0
    codes = [max(0, min(255, round(float(v) / step) + round(-low / step))) for v in x.ravel()]
    return np.array(codes, int).reshape(x.shape)


def cut_in_torch(embeddings, n_dims):
    first = torch.from_numpy(embeddings[:, :n_dims].copy())
    return torch.round(127 * torch.nn.functional.normalize(first)).to(torch.int8)


def svd_codes(reference, embeddings):
    mean = reference.mean(axis=0)
    rows = np.linalg.svd(reference - mean, full_matrices=False)[2][:16]
    known, new = (reference - mean) @ rows.T, (embeddings - mean) @ rows.T
    low, high = known.min(), known.max()
    return np.clip(np.rint(255 * (new - low) / (high - low)), 0, 255).astype(np.uint8)


RIGHT = {
    "quantised": (
        quantised_in_torch,
        quantised_by_value,
        lambda *a: solved_quantised(*a).astype(np.float32),
        lambda *a: solved_quantised(*a).astype(np.int16),
    ),
    "cut": (
        cut_in_torch,
        lambda *a: solved_cut(*a).astype(int),
        lambda X, n: np.round(127 * X[:, :n] / np.maximum(np.linalg.norm(X[:, :n], axis=1)[:, None], 1e-30)),
        lambda X, n: solved_cut(3 * X, n),
    ),
    "sixteen_bytes": (
        solved_sixteen,
        svd_codes,
        lambda r, e: solved_sixteen(r, e, 14),
        lambda r, e: solved_sixteen(r[:400], e),
    ),
}  # fmt: skip

WRONG = {
    "quantised": (
        lambda x, low, high: solved_quantised(x, low, high) // 2,
        lambda x, low, high: solved_quantised(x, low, high).astype(np.int8),
        lambda x, low, high: solved_quantised(x, -max(-low, high), max(-low, high)),
        lambda x, low, high: solved_quantised(x, 0.0, high),
        lambda x, low, high: solved_quantised(x, low, 0.0),
        lambda x, low, high: 255 - solved_quantised(x, low, high),
        lambda x, low, high: solved_quantised(x, high, low),
        lambda x, low, high: solved_quantised(np.clip(x, 0, None), low, high),
        lambda x, low, high: solved_quantised(x, low, high).ravel(),
        lambda x, low, high: np.minimum(solved_quantised(x, low, high), 254),
        lambda x, low, high: np.maximum(solved_quantised(x, low, high), 1),
        lambda x, low, high: solved_quantised(
            x, x.min() if x.size else 0.0, x.max() if x.size else 0.0
        ),
        ("changed its input", lambda x, low, high: spoiled(x, low, high)),
    ),
    "cut": (
        lambda X, n: solved_cut(X, n)[:, : max(n - 1, 1)],
        lambda X, n: solved_cut(X, min(n + 1, X.shape[1])),
        lambda X, n: -solved_cut(X, n),
        lambda X, n: np.abs(solved_cut(X, n)),
        lambda X, n: solved_cut(X, n) / 127,
        lambda X, n: solved_cut(X, n).T,
        lambda X, n: np.where(X[:, :n].any(axis=1, keepdims=True), solved_cut(X, n), 1),
        lambda X, n: np.round(127 * X[:, :n]),
        lambda X, n: np.round(255 * X[:, :n] / np.maximum(np.linalg.norm(X[:, :n], axis=1)[:, None], 1e-30)),
        lambda X, n: np.round(127 * X[:, :n] / np.maximum(np.linalg.norm(X[:, :n]), 1e-30)),
        lambda X, n: np.round(127 * X[:, :n] / np.maximum((X[:, :n] ** 2).sum(axis=1)[:, None], 1e-30)),
        lambda X, n: solved_cut(X[:, np.argsort(-np.abs(X).sum(axis=0))], n),
        ("changed its input", lambda X, n: spoiled(X, n)),
    ),
    "sixteen_bytes": (
        ("keep", lambda r, e: np.zeros((len(e), 16), np.uint8)),
        ("keep", lambda r, e: solved_sixteen(r, e, 3)),
        ("uint8", lambda r, e: solved_sixteen(r, e).astype(float)),
        ("(200, 16)", lambda r, e: solved_sixteen(r, e)[:, :15]),
        ("(200, 16)", lambda r, e: np.hstack([solved_sixteen(r, e)] * 2)),
        ("other images", lambda r, e: solved_sixteen(e, e)),
        ("200 here", lambda r, e: solved_sixteen(r, r)),
        ("keep", lambda r, e: solved_sixteen(r, e)[:, ::-1] // 64),
        ("keep", lambda r, e: np.packbits(e[:, :1] > np.zeros((1, 128)), axis=1)),
        ("keep", lambda r, e: np.clip(127 + 40 * e[:, :16], 0, 255).astype(np.uint8)),
        ("changes", lambda r, e: spoiled(solved_sixteen(r, e), e)),
    ),
}  # fmt: skip


def spoiled(first, *rest):
    """Change an argument in place."""
    for array in (first, *rest):
        if isinstance(array, np.ndarray) and array.size:
            array[:] = 7
    return first
