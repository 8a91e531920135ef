"""The checks of notebook 22: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch

from cbirkit import checks
from cbirkit.attacks.perturbations import Ball


def solved_recall(hits):
    return sum(min(column) for column in np.asarray(hits).T.tolist()) / hits.shape[1]


def solved_step(at, gradient, clean, size, epsilon):
    """By the ball that the attacks of the package use."""
    at, gradient, clean = (torch.from_numpy(values) for values in (at, gradient, clean))
    return Ball(clean, epsilon, "linf").step(at, gradient, size).numpy()


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


CHECKS = {
    "robust_recall": (checks.check_robust_recall, solved_recall),
    "pgd_step": (checks.check_pgd_step, solved_step),
    "mended_attack": (checks.check_mended_attack, solved_attack),
}


def other_order(at, gradient, clean, size, epsilon):
    """Valid pixels first, then the ball: the clean image lies in both."""
    moved = np.clip(at + size * np.sign(gradient), 0, 1)
    return np.minimum(np.maximum(moved, clean - epsilon), clean + epsilon)


def one_range(at, gradient, clean, size, epsilon):
    low, high = np.maximum(clean - epsilon, 0), np.minimum(clean + epsilon, 1)
    step = np.where(gradient > 0, size, np.where(gradient < 0, -size, 0))
    return (at + step).clip(low, high)


def by_tensors(at, gradient, clean, size, epsilon):
    at, gradient, clean = (torch.from_numpy(values) for values in (at, gradient, clean))
    moved = at + size * gradient.sign()
    return (clean + (moved - clean).clamp(-epsilon, epsilon)).clamp(0, 1)


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
    "robust_recall": (
        lambda hits: np.logical_and.reduce(hits).mean(),
        lambda hits: hits.prod(axis=0).sum() / hits.shape[1],
        lambda hits: 1 - (~hits).any(axis=0).mean(),
        lambda hits: np.float32((hits.sum(axis=0) == len(hits)).mean()),
        lambda hits: sum(all(query) for query in zip(*hits.tolist(), strict=True)) / len(hits[0]),
    ),
    "pgd_step": (
        other_order,
        one_range,
        by_tensors,
        lambda *a: one_range(*a).tolist(),
        lambda *a: other_order(*a).astype(np.float32),
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
        ("np.sign", lambda at, g, *a: other_order(at, sign(g, 1), *a)),
        ("np.sign", lambda at, g, *a: other_order(at, sign(g, -1), *a)),
        ("0 / 0", lambda at, g, *a: other_order(at, g / np.abs(g), *a)),
        lambda at, g, *a: other_order(at, np.where(g == 0, 1e-3, g), *a),
        lambda at, g, clean, size, eps: at + size * np.sign(g),
        lambda at, g, clean, size, eps: other_order(at, g, clean, eps, eps),
        lambda at, g, clean, size, eps: other_order(at, g, clean, size, size),
        lambda at, g, clean, size, eps: other_order(at, g, clean, size, eps) - clean,
        lambda at, g, clean, size, eps: other_order(at, g, clean, size, eps + size),
        lambda at, g, clean, size, eps: (
            other_order(at, g / np.linalg.norm(g) if g.any() else g, clean, size, eps) * 0.999
        ),
        lambda at, g, clean, size, eps: np.clip(at + np.clip(size * g, -eps, eps), 0, 1),
        lambda at, g, clean, size, eps: np.clip(
            clean + np.clip(size * np.sign(g), -eps, eps), 0, 1
        ),
        lambda at, g, clean, size, eps: np.clip(
            at + size * np.tanh(1e3 * g), np.maximum(clean - eps, 0), np.minimum(clean + eps, 1)
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
