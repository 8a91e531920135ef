"""The checks of notebook 16: right answers pass, wrong ones get the sentence that names the mistake."""

import math

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp

from cbirkit import checks
from cbirkit.checks.text_and_images import FUSION_MISTAKES, NCE_MISTAKES


def nce_by_loops(similarities, true, temperature):
    total = []
    for table, right in ((similarities, true), (np.transpose(similarities), np.transpose(true))):
        losses = []
        for row, is_true in zip(table, right, strict=True):
            logits = [float(value) / temperature for value in row]
            top = max(logits)
            weights = [math.exp(value - top) for value in logits]
            of_true = [value for value, one in zip(logits, is_true, strict=True) if one]
            if of_true:
                best = max(of_true)
                log_true = best + math.log(sum(math.exp(value - best) for value in of_true))
                losses.append(top + math.log(sum(weights)) - log_true)
        total.append(sum(losses) / len(losses) if losses else 0.0)
    return sum(total) / 2


def nce_with_scipy(similarities, true, temperature):
    found = []
    for logits, mask in ((np.asarray(similarities) / temperature, np.asarray(true)),) * 2:
        if found:
            logits, mask = logits.T, mask.T
        keep = mask.any(axis=1)
        logs = log_softmax(logits, axis=1)[keep]
        found.append(-logsumexp(logs, axis=1, b=mask[keep]).mean() if keep.any() else 0)
    return np.mean(found)


def nce_in_torch(similarities, true, temperature):
    logits, mask = torch.tensor(np.asarray(similarities) / temperature), torch.tensor(true)
    hidden = logits.masked_fill(~mask, -torch.inf)
    parts = []
    for dim in (1, 0):
        loss = torch.logsumexp(logits, dim) - torch.logsumexp(hidden, dim)
        loss = loss[mask.any(dim)]
        parts.append(loss.mean() if len(loss) else torch.tensor(0.0, dtype=torch.float64))
    return (parts[0] + parts[1]) / 2


def nce_as_difference(similarities, true, temperature):
    logits = np.asarray(similarities, dtype=float) / temperature
    hidden = np.where(true, logits, -np.inf)
    parts = []
    for axis in (0, 1):
        some = np.any(true, axis=axis)
        gap = np.logaddexp.reduce(logits, axis=axis)[some] - np.logaddexp.reduce(hidden, axis=axis)[some]  # fmt: skip
        parts.append(gap.sum() / max(some.sum(), 1))
    return float(sum(parts) / 2)


def fused_by_loops(image, text, strength):
    def scaled(row):
        low, high = min(row), max(row)
        return [(value - low) / (high - low) if high > low else 0.0 for value in row]

    return [
        [a * b - strength * (a + b) ** 2 for a, b in zip(scaled(i), scaled(t), strict=True)]
        for i, t in zip(image, text, strict=True)
    ]


def fused_with_nan(image, text, strength):
    parts = []
    for table in (image, text):
        with np.errstate(invalid="ignore"):
            width = np.ptp(table, axis=1)[:, None]
            parts.append(np.nan_to_num((table - np.min(table, axis=1)[:, None]) / width))
    return np.prod(parts, axis=0) - strength * np.square(np.sum(parts, axis=0))


def fused_in_torch(image, text, strength):
    both = torch.stack([torch.tensor(np.asarray(one, float)) for one in (image, text)])
    both = both - both.amin(dim=2, keepdim=True)
    both = both / both.amax(dim=2, keepdim=True).clamp(min=1e-300)
    return both.prod(dim=0) - strength * both.sum(dim=0) ** 2


def fused_expanded(image, text, strength):
    a, b = (np.apply_along_axis(lambda row: (row - row.min()) / (np.ptp(row) or 1), 1, one) for one in (image, text))  # fmt: skip
    return (1 - 2 * strength) * a * b - strength * a * a - strength * b * b


CHECKS = {
    "mil_nce": (checks.check_mil_nce, nce_by_loops),
    "harris_fusion": (checks.check_harris_fusion, fused_by_loops),
}
RIGHT = {
    "mil_nce": [nce_by_loops, nce_with_scipy, nce_in_torch, nce_as_difference],
    "harris_fusion": [fused_by_loops, fused_with_nan, fused_in_torch, fused_expanded],
}


def told(mistakes):
    """Each named mistake with the first words of its sentence."""
    return [(sentence[:25], wrong) for sentence, wrong in mistakes.items()]


WRONG = {"mil_nce": told(NCE_MISTAKES), "harris_fusion": told(FUSION_MISTAKES)}
WRONG["mil_nce"] += [lambda s, t, temperature: 0.0, lambda s, t, temperature: np.mean(s)]
WRONG["harris_fusion"] += [lambda i, t, strength: i, lambda i, t, strength: (i * t).T]
