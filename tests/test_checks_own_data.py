"""The checks of notebook 24: right answers pass, wrong ones get the sentence that names the mistake."""

import itertools

import numpy as np
import pandas as pd

from cbirkit import checks
from cbirkit.checks import own_data


def solved_copy_groups(ids, digests):
    pairs = sorted(zip(digests, ids, strict=True))
    groups = (
        [name for _, name in group]
        for _, group in itertools.groupby(pairs, key=lambda pair: pair[0])
    )
    return sorted(group for group in groups if len(group) > 1)


def solved_mean_over_classes(scores, labels):
    return pd.Series(scores).groupby(labels).mean().mean()


CHECKS = {
    "copy_groups": (checks.check_copy_groups, solved_copy_groups),
    "mean_over_classes": (
        checks.check_mean_over_classes,
        solved_mean_over_classes,
    ),
}


def test_no_scores_is_nan_to_the_trusted_version():
    assert np.isnan(own_data._mean_over_classes(np.full(3, np.nan), np.array(["a", "a", "b"])))


def grouped_by_pandas(ids, digests):
    table = pd.DataFrame({"id": list(ids), "digest": list(digests)})
    return sorted(sorted(group) for _, group in table.groupby("digest")["id"] if len(group) > 1)


def grouped_by_loop(ids, digests):
    groups, used = [], set()
    for name in sorted(ids):
        digest = digests[ids.index(name)]
        group = sorted(other for other, one in zip(ids, digests, strict=True) if one == digest)
        if len(group) > 1 and digest not in used:
            groups.append(tuple(group))
            used.add(digest)
    return tuple(groups)


def mean_by_loop(scores, labels):
    sums = {}
    for score, label in zip(scores.tolist(), labels.tolist(), strict=True):
        if not np.isnan(score):
            sums.setdefault(label, []).append(score)
    return sum(sum(s) / len(s) for s in sums.values()) / len(sums) if sums else float("nan")


def mean_with_warnings(scores, labels):
    return np.nanmean([np.nanmean(scores[labels == name]) for name in np.unique(labels)])


RIGHT = {
    "copy_groups": (
        grouped_by_pandas,
        grouped_by_loop,
        lambda *a: [np.array(g) for g in grouped_by_loop(*a)],
        lambda *a: [list(g) for g in grouped_by_loop(*a)],
    ),
    "mean_over_classes": (
        mean_by_loop,
        mean_with_warnings,
        lambda *a: np.array(mean_by_loop(*a)),
        lambda *a: np.float32(mean_by_loop(*a)),
    ),
}

WRONG = {
    "copy_groups": (
        lambda ids, digests: solved_copy_groups(ids, digests)[:1],
        lambda ids, digests: solved_copy_groups(ids, digests)[::-1],
        lambda ids, digests: [g[::-1] for g in solved_copy_groups(ids, digests)],
        lambda ids, digests: [g[:2] for g in solved_copy_groups(ids, digests)],
        lambda ids, digests: [g for g in solved_copy_groups(ids, digests) if len(g) > 2],
        lambda ids, digests: sorted(solved_copy_groups(ids, digests), key=len),
        lambda ids, digests: solved_copy_groups(digests, ids),
        lambda ids, digests: {g[0]: g for g in solved_copy_groups(ids, digests)},
        lambda ids, digests: [set(g) for g in solved_copy_groups(ids, digests)],
        lambda ids, digests: [
            [ids.index(name) for name in g] for g in solved_copy_groups(ids, digests)
        ],
        lambda ids, digests: [
            [a, b]
            for g in solved_copy_groups(ids, digests)
            for a, b in itertools.combinations(g, 2)
        ],
        ("IndexError", lambda ids, digests: ids[0] and solved_copy_groups(ids, digests)),
        ("changed its input", lambda ids, digests: ids.sort() or solved_copy_groups(ids, digests)),
    ),
    "mean_over_classes": (
        ("score of 0", lambda s, y: mean_by_loop(np.where(s > 0, s, np.nan), y)),
        lambda s, y: mean_by_loop(s, y) if len(s) else 0.0,
        lambda s, y: np.nan_to_num(mean_by_loop(s, y)),
        lambda s, y: (
            sum(np.nanmean(s[y == c]) for c in np.unique(y)) / sum([1 for c in np.unique(y)])
        ),
        lambda s, y: np.nanmean(s) if np.isfinite(s).any() else np.nan,
        lambda s, y: mean_by_loop(s[:-1], y[:-1]),
        lambda s, y: mean_by_loop(s, np.where(y == "dog", "cat", y)),
        lambda s, y: np.median(
            [x for x in (np.nanmean(s[y == c]) for c in np.unique(y)) if np.isfinite(x)] or [np.nan]
        ),
        lambda s, y: min(
            [x for x in (np.nanmean(s[y == c]) for c in np.unique(y)) if np.isfinite(x)] or [np.nan]
        ),
        lambda s, y: mean_by_loop(s**2, y) ** 0.5,
        lambda s, y: {c: np.nanmean(s[y == c]) for c in np.unique(y)},
        lambda s, y: (
            sum(np.nansum(s[y == c]) / (y == c).sum() for c in np.unique(y)) / len(np.unique(y))
            if np.isfinite(s).any()
            else np.nan
        ),
    ),
}
