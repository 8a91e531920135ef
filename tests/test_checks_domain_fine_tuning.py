"""The checks of notebook 06: right answers pass, wrong ones get the sentence that names the mistake."""

import re

import numpy as np
import pandas as pd

from cbirkit import checks


def solved_class_split(labels, order, n_train, n_validation):
    n_test = len(order) - n_train - n_validation
    parts = ["train"] * n_train + ["validation"] * n_validation + ["test"] * n_test
    return pd.Series(labels).map(dict(zip(order, parts, strict=True))).to_numpy(dtype=str)


def solved_which_learn(names, n_blocks):
    first = max(
        (int(name.split(".")[1]) for name in names if name.startswith("blocks.")), default=-1
    )
    starts = ["last."] + [f"blocks.{first - n}." for n in range(n_blocks)]
    return np.array([any(name.startswith(start) for start in starts) for name in names])


def solved_choose_alpha(alphas, target, source, most):
    limit = dict(zip(alphas, source, strict=True))[0] - most
    best = None
    for alpha, gained, kept in sorted(zip(alphas, target, source, strict=True)):
        if kept >= limit and (best is None or gained > best[0]):
            best = gained, float(alpha)
    return best[1]


CHECKS = {
    "class_split": (
        checks.check_class_split,
        solved_class_split,
    ),
    "which_learn": (
        checks.check_which_learn,
        solved_which_learn,
    ),
    "choose_alpha": (
        checks.check_choose_alpha,
        solved_choose_alpha,
    ),
}


def split_by_loop(labels, order, n_train, n_validation):
    parts = []
    for label in labels:
        place = list(order).index(label)
        parts.append(
            "train"
            if place < n_train
            else "validation"
            if place < n_train + n_validation
            else "test"
        )
    return parts


def split_by_select(labels, order, n_train, n_validation):
    first, second = (
        np.isin(labels, order[:n_train]),
        np.isin(labels, order[n_train : n_train + n_validation]),
    )
    return np.select([first, second], ["train", "validation"], "test").astype(object)


def filled(labels, order, n_train, n_validation, dtype="<U10"):
    parts = np.full(len(labels), "test", dtype=dtype)
    for n, name in enumerate(order[: n_train + n_validation]):
        parts[labels == name] = "train" if n < n_train else "validation"
    return parts


def learn_by_regex(names, n_blocks):
    numbers = [re.match(r"blocks\.(\d+)", name) for name in names]
    numbers = [int(one[1]) if one else None for one in numbers]
    highest = sorted({one for one in numbers if one is not None}, reverse=True)[:n_blocks]
    return [
        one in highest or name.startswith("last.") for one, name in zip(numbers, names, strict=True)
    ]


def alpha_by_pairs(alphas, target, source, most):
    before = source[list(alphas).index(0)]
    allowed = [
        (-t, a) for a, t, s in zip(alphas, target, source, strict=True) if before - s <= most
    ]
    return min(allowed)[1]


def alpha_by_nan(alphas, target, source, most):
    order = np.argsort(alphas)
    scores = np.where(source[alphas == 0] - source <= most, target, np.nan)[order]
    return alphas[order][np.nanargmax(scores)]


RIGHT = {
    "class_split": (
        split_by_loop,
        split_by_select,
        filled,
        lambda *a: tuple(split_by_loop(*a)),
        lambda *a: pd.Series(split_by_loop(*a), dtype=object),
    ),
    "which_learn": (
        learn_by_regex,
        lambda *a: tuple(learn_by_regex(*a)),
        lambda *a: np.array(learn_by_regex(*a), dtype=object),
        lambda *a: pd.Series(learn_by_regex(*a)),
    ),
    "choose_alpha": (
        alpha_by_pairs,
        alpha_by_nan,
        lambda *a: np.array(alpha_by_nan(*a)),
        lambda *a: np.float32(alpha_by_pairs(*a)),
    ),
}

WRONG = {
    "class_split": (
        ("four letters", lambda *a: filled(*a, dtype="<U4")),
        lambda labels, order, n, m: split_by_loop(labels, order[::-1], n, m),
        lambda labels, order, n, m: split_by_loop(labels, order, m, n),
        lambda labels, order, n, m: split_by_loop(labels, order, n - 1, m),
        lambda labels, order, n, m: split_by_loop(labels, order, n, m - 1),
        lambda labels, order, n, m: split_by_loop(labels, order, n, m + 1),
        lambda labels, order, n, m: [
            "val" if part == "validation" else part for part in split_by_loop(labels, order, n, m)
        ],
        lambda labels, order, n, m: [part.title() for part in split_by_loop(labels, order, n, m)],
        lambda labels, order, n, m: [
            ["train", "validation", "test"].index(part)
            for part in split_by_loop(labels, order, n, m)
        ],
        lambda labels, order, n, m: np.sort(split_by_loop(labels, order, n, m)),
        lambda labels, order, n, m: split_by_loop(np.unique(labels), order, n, m),
        lambda labels, order, n, m: np.array(split_by_loop(labels, order, n, m))[:, None],
        lambda labels, order, n, m: [
            "train"
            if x in order[:n]
            else "test"
            if x in order[-(len(order) - n - m) :]
            else "validation"
            for x in labels
        ],
    ),
    "which_learn": (
        (
            "begins with",
            lambda names, n: learn_by_regex([name.replace("last_", "last.") for name in names], n),
        ),
        lambda names, n: learn_by_regex(
            [name.replace("stem.last", "last.last") for name in names], n
        ),
        lambda names, n: (
            np.array(learn_by_regex(names, n)) | np.array(["stem.conv" in name for name in names])
        ),
        lambda names, n: learn_by_regex(names, max(n, 1)),
        lambda names, n: learn_by_regex(names, n + 1),
        lambda names, n: learn_by_regex(names, n - 1) if n else learn_by_regex(names, 0),
        lambda names, n: [
            learns and name.endswith("weight")
            for learns, name in zip(learn_by_regex(names, n), names, strict=True)
        ],
        lambda names, n: sorted(learn_by_regex(names, n)),
        lambda names, n: learn_by_regex(sorted(names), n),
        lambda names, n: [
            f".{max(15 - n, 0)}." in name or name.startswith("last.") for name in names
        ],
        lambda names, n: [
            any(f"blocks.{15 - i - 1}." in name for i in range(n)) or name.startswith("last.")
            for name in names
        ],
        lambda names, n: [f"blocks.{i}" for i in range(n)],
        ("true/false", lambda names, n: np.array(learn_by_regex(names, n)).astype(int)),
    ),
    "choose_alpha": (
        (
            "<=, not <",
            lambda a, t, s, most: alpha_by_pairs(
                a,
                t,
                np.where(s[a == 0] - s == most, -9, s) if most else np.where(s < s[a == 0], -9, s),
                most,
            ),
        ),
        ("first", lambda a, t, s, most: a[np.where(s[a == 0] - s <= most, t, -1).argmax()]),
        ("first", lambda a, t, s, most: a[np.where(s[a == 0] - s <= most, t, 0).argmax()]),
        lambda a, t, s, most: alpha_by_pairs(a, t, s, abs(most) + 0.05),
        lambda a, t, s, most: alpha_by_pairs(a, t, np.minimum(s, s[a == 0] - 0.0), most / 2),
        lambda a, t, s, most: alpha_by_pairs(a, -t, s, most),
        lambda a, t, s, most: alpha_by_pairs(a, t, -s, most),
        lambda a, t, s, most: max(a[s[a == 0] - s <= most], key=lambda x: t[a == x][0] - x),
        lambda a, t, s, most: (
            alpha_by_pairs(a[1:], t[1:], s[1:], most)
            if len(a) > 1 and a[0]
            else alpha_by_pairs(a, t, s, most) or 0.2
        ),
        lambda a, t, s, most: [alpha_by_pairs(a, t, s, most)],
        lambda a, t, s, most: alpha_by_pairs(a, t, s, most) if len(a) > 1 else None,
        lambda a, t, s, most: alpha_by_pairs(a, np.round(t, 1), s, most),
    ),
}
