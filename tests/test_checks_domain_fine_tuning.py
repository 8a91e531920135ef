"""The checks of notebook 06: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pandas as pd

from cbirkit import checks
from cbirkit.checks import domain_fine_tuning


def solved_class_split(labels, order, n_train, n_validation):
    n_test = len(order) - n_train - n_validation
    parts = ["train"] * n_train + ["validation"] * n_validation + ["test"] * n_test
    return pd.Series(labels).map(dict(zip(order, parts, strict=True))).to_numpy(dtype=str)


def solved_which_learn(names, n_blocks):
    first = max((int(name.split(".")[1]) for name in names if name.startswith("blocks.")), default=-1)
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
    "class_split": (checks.check_class_split, domain_fine_tuning.CLASS_SPLIT_MISTAKES, solved_class_split),
    "which_learn": (checks.check_which_learn, domain_fine_tuning.WHICH_LEARN_MISTAKES, solved_which_learn),
    "choose_alpha": (checks.check_choose_alpha, domain_fine_tuning.CHOOSE_ALPHA_MISTAKES, solved_choose_alpha),
}
