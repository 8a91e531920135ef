"""The checks of notebook 22: right answers pass, wrong ones get the sentence that names the mistake."""

import math

import numpy as np
import torch

from cbirkit import checks
from cbirkit.attacks.perturbations import Ball
from cbirkit.checks.adversarial import SIGNS_MISTAKES


def solved_recall(hits):
    return sum(min(column) for column in np.asarray(hits).T.tolist()) / hits.shape[1]


def solved_step(at, gradient, clean, size, epsilon):
    """Image by image, with Python's own hypotenuse."""
    out = clean.copy()
    for n in range(len(at)):
        length = math.hypot(*gradient[n].ravel())
        change = at[n] - clean[n] + (size / length * gradient[n] if length else 0)
        far = math.hypot(*change.ravel())
        out[n] += change * epsilon / far if far > epsilon else change
    return out.clip(0, 1)


def solved_attack(normalised, gradient, epsilon, mean, std):
    out = np.empty_like(normalised)
    for image in range(len(normalised)):
        for channel in range(3):
            pixels = normalised[image, channel] * std[channel] + mean[channel]
            moved = pixels + epsilon * np.sign(gradient[image, channel])
            out[image, channel] = (np.minimum(np.maximum(moved, 0), 1) - mean[channel]) / std[
                channel
            ]
    return out


def signs_by_loops(embeddings, slope):
    out = np.zeros(embeddings.shape)
    for n, row in enumerate(embeddings.tolist()):
        width = sum(map(abs, row)) / len(row)
        for d, value in enumerate(row):
            out[n, d] = slope[n, d] / (width * math.cosh(value / width) ** 2) if width else 0
    return out


def signs_by_torch(embeddings, slope):
    """By automatic differentiation of the stand-in."""
    e = torch.from_numpy(embeddings).requires_grad_(True)
    width = e.detach().abs().mean(dim=1, keepdim=True).clamp(min=1e-300)
    (torch.from_numpy(slope) * torch.tanh(e / width)).sum().backward()
    return torch.where(e.detach().abs().amax(dim=1, keepdim=True) > 0, e.grad, 0.0)


CHECKS = {
    "signs_backward": (checks.check_signs_backward, signs_by_loops),
    "robust_recall": (checks.check_robust_recall, solved_recall),
    "pgd_step": (checks.check_pgd_step, solved_step),
    "mended_attack": (checks.check_mended_attack, solved_attack),
}


def lengths(change):
    return np.linalg.norm(change.reshape(len(change), -1), axis=1)


def by_ball(at, gradient, clean, size, epsilon):
    """By the ball that the attacks of the package use, which stays a hair inside."""
    at, gradient, clean = (torch.from_numpy(values) for values in (at, gradient, clean))
    return Ball(clean, epsilon / (1 - 1e-5), "l2").step(at, gradient, size).numpy()


def by_rows(at, gradient, clean, size, epsilon):
    unit = gradient / np.where(lengths(gradient) > 0, lengths(gradient), 1)[:, None, None, None]
    change = (at + size * unit - clean).reshape(len(at), -1)
    change *= (epsilon / np.maximum(lengths(change), max(epsilon, 1e-9)))[:, None]
    return np.clip(clean + change.reshape(at.shape), 0, 1)


def by_tensors(at, gradient, clean, size, epsilon):
    at, gradient, clean = (torch.from_numpy(values) for values in (at, gradient, clean))
    unit = torch.nn.functional.normalize(gradient.flatten(1)).view_as(gradient)
    return (clean + (at + size * unit - clean).renorm(2, 0, epsilon)).clamp(0, 1)


def in_pixels(normalised, gradient, epsilon, mean, std):
    axes = (None, slice(None), None, None)
    pixels = normalised * std[axes] + mean[axes]
    return ((pixels + epsilon * np.sign(gradient)).clip(0, 1) - mean[axes]) / std[axes]


def between_ends(normalised, gradient, epsilon, mean, std):
    mean, std = mean[:, None, None], std[:, None, None]
    return np.clip(normalised + epsilon / std * np.sign(gradient), -mean / std, (1 - mean) / std)


def channels_last(normalised, gradient, epsilon, mean, std):
    pixels = np.moveaxis(normalised, 1, -1) * std + mean
    moved = np.clip(pixels + epsilon * np.sign(np.moveaxis(gradient, 1, -1)), 0, 1)
    return np.moveaxis((moved - mean) / std, -1, 1)


def sign(g, at_zero):
    return np.where(g == 0, at_zero, np.sign(g))


RIGHT = {
    "signs_backward": (
        signs_by_torch,
        lambda *a: signs_by_torch(*a).numpy(),
        lambda *a: signs_by_loops(*a).tolist(),
        lambda *a: signs_by_loops(*a).astype(np.float32),
    ),
    "robust_recall": (
        lambda hits: np.logical_and.reduce(hits).mean(),
        lambda hits: hits.prod(axis=0).sum() / hits.shape[1],
        lambda hits: 1 - (~hits).any(axis=0).mean(),
        lambda hits: np.float32((hits.sum(axis=0) == len(hits)).mean()),
        lambda hits: sum(all(query) for query in zip(*hits.tolist(), strict=True)) / len(hits[0]),
    ),
    "pgd_step": (
        by_ball,
        by_rows,
        by_tensors,
        lambda *a: by_rows(*a).tolist(),
        lambda *a: by_ball(*a).astype(np.float32),
    ),
    "mended_attack": (
        in_pixels,
        between_ends,
        channels_last,
        lambda *a: torch.from_numpy(in_pixels(*a)),
        lambda *a: in_pixels(*a).tolist(),
    ),
}

WRONG = {
    "signs_backward": (
        lambda e, slope: signs_by_loops(e, np.sign(slope)),
        lambda e, slope: signs_by_loops(e, slope) ** 2,
        lambda e, slope: signs_by_loops(e, slope) * np.sign(e),
        lambda e, slope: signs_by_loops(e, slope) / np.sqrt(e.shape[1]),
        lambda e, slope: signs_by_loops(2 * e, slope),
        lambda e, slope: signs_by_loops(np.abs(e), slope) + e,
        lambda e, slope: signs_by_loops(e, slope)[:1],
        ("return", lambda e, slope: None),
        *SIGNS_MISTAKES.items(),
    ),
    "robust_recall": (
        ("which gives 1, or NaN", lambda hits: hits[:, hits.all(axis=0)].mean()),
        lambda hits: hits[:, hits.all(axis=0)].mean() if hits.all(axis=0).any() else 0.0,
        lambda hits: hits.all(axis=0).sum() // hits.shape[1],
        lambda hits: hits.all(axis=0).mean() if hits.all(axis=0).any() else float("nan"),
        lambda hits: hits.all(axis=0).sum() / len(hits),
        lambda hits: hits.all(axis=0).sum() / hits.size,
        lambda hits: hits[-1].mean(),
        lambda hits: hits[:2].all(axis=0).mean(),
        lambda hits: (hits.mean(axis=0) > 0.5).mean(),
        lambda hits: 100 * solved_recall(hits),
        lambda hits: hits.all(axis=0),
    ),
    "pgd_step": (
        lambda at, g, *a: by_rows(at, np.sign(g), *a),
        ("0 / 0", lambda at, g, *a: by_rows(at, g / lengths(g)[:, None, None, None], *a)),
        ("stays around", lambda at, g, clean, *a: by_rows(at, g, at, *a)),
        lambda at, g, clean, size, eps: at + size * np.sign(g),
        lambda at, g, clean, size, eps: by_rows(at, g, clean, eps, eps),
        lambda at, g, clean, size, eps: by_rows(at, g, clean, size, size),
        lambda at, g, clean, size, eps: by_rows(at, g, clean, size, eps) - clean,
        lambda at, g, clean, size, eps: by_rows(at, g, clean, size, eps + size),
        lambda at, g, clean, size, eps: by_rows(at.clip(0.01, 0.99), g, clean, size, eps),
        lambda at, g, clean, size, eps: by_rows(at, g, clean, 0.999 * size, eps),
        lambda at, g, clean, size, eps: by_rows(at, g, clean, size, eps**2),
        lambda at, g, clean, size, eps: by_rows(at, g / np.abs(g).max(), clean, size, eps) * 0.999,
        lambda at, g, clean, size, eps: by_rows(
            at, g.mean(axis=1, keepdims=True) + 0 * g, clean, size, eps
        ),
        lambda at, g, clean, size, eps: by_rows(
            np.clip(at + size * g / np.maximum(lengths(g), 1e-12)[:, None, None, None], 0, 1),
            0 * g,
            clean,
            0,
            eps,
        ),
        ("changed its input", lambda at, g, *a: at.__iadd__(np.sign(g))),
    ),
    "mended_attack": (
        ("np.sign", lambda x, g, *a: in_pixels(x, sign(g, 1), *a)),
        ("np.sign", lambda x, g, *a: in_pixels(x, sign(g, -1), *a)),
        ("0 / 0", lambda x, g, *a: in_pixels(x, g / np.abs(g), *a)),
        lambda x, g, *a: in_pixels(x, -g, *a),
        lambda x, g, eps, mean, std: in_pixels(x, g, eps, std, mean),
        lambda x, g, eps, mean, std: in_pixels(x, g, eps / 2, mean, std),
        lambda x, g, eps, mean, std: in_pixels(x, g, eps / 255, mean, std),
        lambda x, g, eps, mean, std: in_pixels(x, g, eps, mean[::-1], std[::-1]),
        lambda x, g, eps, mean, std: (
            (np.clip((x * std + mean + eps * np.sign(g)), 0, 1) - mean) / std
        ),
        lambda x, g, eps, mean, std: np.clip(in_pixels(x, g, eps, mean, std), 0, 1),
        lambda x, g, eps, mean, std: np.clip(in_pixels(x, g, eps, mean, std), -1, 1),
        lambda x, g, eps, mean, std: in_pixels(x, g, eps, mean, std) - x,
        lambda x, g, eps, mean, std: between_ends(x, g, eps * std.mean(), mean, std),
    ),
}
