"""Checks of notebook 06: a class-disjoint split, which weights learn, and the choice of alpha."""

import re
from functools import partial

import numpy as np

from .running import run_check


def check_class_split(answer):
    """Check ``class_split(labels, order, n_train, n_validation)``: no class in two parts.

    Parameters
    ----------
    answer : callable
        Takes `labels` (n_images,) of text, `order` (n_classes,) with each class once, in the order in which they were
        drawn, and two numbers of classes; returns text (n_images,): "train" for images of the first `n_train` classes
        of `order`, "validation" for those of the next `n_validation`, "test" for all others.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_class_split(lambda labels, order, n_train, n_validation: np.full(len(labels), "train")).passed
    False
    """
    return run_check(answer, _class_split, _split_cases(), mistakes=CLASS_SPLIT_MISTAKES)


def _class_split(labels, order, n_train, n_validation):
    return _split(labels, order, n_train, n_train, n_train + n_validation)


def _split(labels, order, train_end, validation_start, validation_end):
    part = {name: "test" for name in order}
    part |= {name: "validation" for name in order[validation_start:validation_end]}
    part |= {name: "train" for name in order[:train_end]}
    return np.array([part[label] for label in labels], dtype="<U10")


def _split_cases():
    random = np.random.RandomState(0)
    cats = np.array(["cat", "dog", "cow", "dog", "cat", "hen", "fox"])
    order = np.array(["hen", "dog", "cat", "fox", "cow"])
    yield from [
        ("seven images of five classes, drawn as hen, dog, cat, fox, cow", cats, order, 2, 1),
        ("the same with no class left to test on", cats, order, 4, 1),
        ("the same with no validation classes", cats, order, 2, 0),
        ("the same with no class to train on", cats, order, 0, 2),
        ("a single image", cats[:1], order, 2, 1),
        ("no image", cats[:0], order, 2, 1),
    ]
    for n_classes in (6, 9, 12, 15):
        names = np.array([f"class {n}" for n in range(n_classes)])
        labels = random.choice(names, 40)
        sizes = random.randint(1, n_classes // 2, 2)
        about = f"40 images of {n_classes} classes, {sizes[0]} to train on and {sizes[1]} to validate on"
        yield about, labels, random.permutation(names), *map(int, sizes)


def _by_images(labels, order, n_train, n_validation):
    bounds = [round(len(labels) * n / len(order)) for n in (n_train, n_train + n_validation)]
    at = np.arange(len(labels))
    return np.where(at < bounds[0], "train", np.where(at < bounds[1], "validation", "test"))


def _by_counts(labels, order, n_train, n_validation):
    at = np.arange(len(labels))
    return np.where(
        at < n_train, "train", np.where(at < n_train + n_validation, "validation", "test")
    )


CLASS_SPLIT_MISTAKES = {
    "You counted images: n_train and n_validation are numbers of classes, and all images of a class go together.": _by_counts,
    "You split the images, so that a class lies in two parts: split the classes.": _by_images,
    "You took the classes by the alphabet: take them in the order given, or every seed gives the same split.": lambda labels, order, n_train, n_val: (
        _split(labels, np.sort(order), n_train, n_train, n_train + n_val)
    ),
    "You took the classes as they turn up among the labels: take them in the order given.": lambda labels, order, n_train, n_val: (
        _split(labels, list(dict.fromkeys(labels)), n_train, n_train, n_train + n_val)
    ),
    "Training and validation begin with the same classes: those of validation come after the first n_train.": lambda labels, order, n_train, n_val: (
        np.where(
            np.isin(labels, order[:n_val]),
            "validation",
            _split(labels, order, n_train, n_train, n_train),
        )
    ),
    "No class is left to test on: validation ends after n_train + n_validation classes.": lambda labels, order, n_train, n_val: (
        _split(labels, order, n_train, n_train, len(order))
    ),
    "Validation ends too early: it goes from n_train to n_train + n_validation.": lambda labels, order, n_train, n_val: (
        _split(labels, order, n_train, n_train, n_val)
    ),
    "There is one training class too many: order[:n_train] holds n_train classes.": lambda labels, order, n_train, n_val: (
        _split(labels, order, n_train + 1, n_train + 1, n_train + n_val + 1)
    ),
    "That is one answer a class: return one for each image, in the order of `labels`.": lambda labels, order, n_train, n_val: (
        _split(order, order, n_train, n_train, n_train + n_val)
    ),
    'The array was made for texts of four letters, so that "validation" became "vali": use np.where, or dtype=object.': lambda labels, order, n_train, n_val: (
        _split(labels, order, n_train, n_train, n_train + n_val).astype("<U4")
    ),
}


def check_which_learn(answer):
    """Check ``which_learn(names, n_blocks)``: which parameters learn if all but the last blocks are frozen.

    Parameters
    ----------
    answer : callable
        Takes `names`, a list of parameter names such as "stem.conv.weight", "blocks.11.narrow.bias" or
        "last.0.weight", and `n_blocks`; returns bool (n_names,): True for those of the `n_blocks` blocks with the highest
        numbers, and for all that begin with "last.".

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_which_learn(lambda names, n_blocks: np.ones(len(names), bool)).passed
    False
    """
    return run_check(answer, _which_learn, _learn_cases(), mistakes=WHICH_LEARN_MISTAKES)


def _numbers(names):
    """Number of the block of each name, -1 where it is in none."""
    found = [re.match(r"blocks\.(\d+)\.", name) for name in names]
    return np.array([int(match[1]) if match else -1 for match in found])


def _which_learn(names, n_blocks, *, last=True, end=0):
    numbers = _numbers(names)
    learns = (numbers >= numbers.max(initial=-1) + 1 - n_blocks + end) & (numbers >= 0)
    return learns | np.array([last and name.startswith("last.") for name in names], dtype=bool)


def _parameters(n_blocks):
    inside = [
        f"{part}.{kind}"
        for part in ("widen", "filter.conv", "narrow")
        for kind in ("weight", "bias")
    ]
    blocks = [f"blocks.{number}.{name}" for number in range(n_blocks) for name in inside]
    return ["stem.conv.weight", "stem.conv.bias", *blocks, "last.0.weight", "last.0.bias"]


def _learn_cases():
    tiny = _parameters(15)
    mixed = [tiny[n] for n in np.random.RandomState(1).permutation(len(tiny))]
    yield from [
        ("three blocks, of which the last one learns", _parameters(3), 1),
        ("the fifteen blocks of `tiny`, of which four learn", tiny, 4),
        ("the fifteen blocks of `tiny`, of which two learn", tiny, 2),
        ("no block at all (what begins with last. still learns)", tiny, 0),
        ("all fifteen blocks (the stem stays)", tiny, 15),
        ("the same names in another order", mixed, 3),
        ("the names of one block alone", _parameters(3)[2:8], 2),
        ("more blocks than there are (the stem stays)", _parameters(3), 5),
        (
            'names that hold "last" but do not begin with "last."',
            ["last_norm.weight", "stem.last.weight", *_parameters(2)],
            1,
        ),
    ]


def _by_text(names, n_blocks):
    blocks = sorted({name.split(".")[1] for name in names if name.startswith("blocks.")})
    chosen = blocks[len(blocks) - n_blocks :]
    return np.array(
        [
            name.startswith("last.")
            or (name.startswith("blocks.") and name.split(".")[1] in chosen)
            for name in names
        ]
    )


def _by_names(names, n_blocks):
    learns = np.arange(len(names)) >= len(names) - n_blocks
    return learns | np.array([name.startswith("last.") for name in names])


def _minus_zero(names, n_blocks):
    blocks = sorted(set(_numbers(names).tolist()) - {-1})[-n_blocks:]
    return np.isin(_numbers(names), blocks) | np.array([name.startswith("last.") for name in names])


WHICH_LEARN_MISTAKES = {
    "It is the other way round: True for what learns.": lambda names, n: ~_which_learn(names, n),
    'What begins with "last." comes after the blocks: it learns too.': partial(
        _which_learn, last=False
    ),
    'You compared the numbers as text, where "9" comes after "11": turn them into whole numbers with int.': _by_text,
    "These are the first blocks: those near the output learn, those near the pixels stay.": lambda names, n: (
        ((_numbers(names) >= 0) & (_numbers(names) < n))
        | np.array([name.startswith("last.") for name in names])
    ),
    "With n_blocks = 0 all blocks learn: list[-0:] is the whole list; ask for numbers >= n_all - n_blocks instead.": _minus_zero,
    "You counted names: a block has several parameters, and all of them learn or none.": _by_names,
    "One block is missing: the last n of N have the numbers N - n to N - 1.": partial(
        _which_learn, end=1
    ),
    "One block too many learns: the last n of N begin with the number N - n.": partial(
        _which_learn, end=-1
    ),
    "These are the names: return an array of True and False, one for each name.": lambda names, n: [
        name for name, learns in zip(names, _which_learn(names, n), strict=True) if learns
    ],
    '"last_norm.weight" begins with "last", too: ask for "last." with the dot.': lambda names, n: (
        _which_learn(names, n, last=False) | np.array([name.startswith("last") for name in names])
    ),
    '"stem.last.weight" holds "last." but does not begin with it: ask with startswith.': lambda names, n: (
        _which_learn(names, n, last=False) | np.array(["last." in name for name in names])
    ),
    "Where more blocks are asked for than there are, what is in no block learns here: the stem stays frozen.": lambda names, n: (
        _which_learn(names, n) | (_numbers(names) >= _numbers(names).max() + 1 - n)
    ),
}


def check_choose_alpha(answer):
    """Check ``choose_alpha(alphas, target, source, most)``: the best alpha that costs the source little.

    Parameters
    ----------
    answer : callable
        Takes `alphas` (n,), which hold 0, `target` and `source` (n,), the validation scores at each, and `most`, how much
        of the source score at alpha = 0 may be lost; returns the alpha, a float, with the highest target score among
        those that lose at most so much, the smallest of equal ones.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_choose_alpha(lambda alphas, target, source, most: alphas[target.argmax()]).passed
    False
    """
    return run_check(answer, _choose_alpha, _alpha_cases(), mistakes=CHOOSE_ALPHA_MISTAKES)


def _choose_alpha(alphas, target, source, most):
    return _chosen(alphas, target, source[alphas == 0][0] - source <= most)


def _chosen(alphas, target, allowed, sign=1):
    """The alpha with the highest target score among those allowed; of equal ones the smallest (sign -1: the largest)."""
    order = np.lexsort((sign * alphas, -target))
    return float(alphas[order[allowed[order]][0]])


def _alpha_cases():
    fifths = np.linspace(0, 1, 6)
    rises = np.array([0.40, 0.55, 0.66, 0.70, 0.69, 0.67])
    yield from [
        (
            "scores that cross, with 0.07 to lose",
            fifths,
            rises,
            np.array([0.8, 0.79, 0.74, 0.66, 0.55, 0.4]),
            0.07,
        ),
        (
            "the same with 0.5 to lose",
            fifths,
            rises,
            np.array([0.8, 0.79, 0.74, 0.66, 0.55, 0.4]),
            0.5,
        ),
        (
            "the same with nothing to lose",
            fifths,
            rises,
            np.array([0.8, 0.79, 0.74, 0.66, 0.55, 0.4]),
            0.0,
        ),
        (
            "a source score that first rises, with 0.05 to lose",
            fifths,
            rises,
            np.array([0.6, 0.7, 0.64, 0.58, 0.5, 0.4]),
            0.05,
        ),
        (
            "equal target scores at 0.4, 0.6 and 0.8",
            fifths,
            np.array([0.4, 0.6, 0.7, 0.7, 0.7, 0.6]),
            np.full(6, 0.5),
            0.1,
        ),
        (
            "alphas that go down",
            fifths[::-1].copy(),
            rises[::-1].copy(),
            np.array([0.4, 0.55, 0.66, 0.74, 0.79, 0.8]),
            0.07,
        ),
        (
            "a source that was poor before, with 0.04 to lose",
            fifths,
            rises,
            np.array([0.20, 0.19, 0.17, 0.14, 0.1, 0.06]),
            0.04,
        ),
    ]
    halves = np.array([0.0, 0.5, 1.0])
    yield from [
        (
            "a loss of exactly 0.25, with 0.25 to lose",
            halves,
            np.array([0.4, 0.6, 0.7]),
            np.array([0.75, 0.5, 0.25]),
            0.25,
        ),
        (
            "equal target scores at 1 and 0.5, alphas that go down",
            halves[::-1].copy(),
            np.array([0.6, 0.6, 0.4]),
            np.full(3, 0.5),
            0.1,
        ),
        (
            "a target score of 0 at the only alpha allowed",
            halves[::-1].copy(),
            np.array([0.6, 0.4, 0.0]),
            np.array([0.1, 0.2, 0.8]),
            0.1,
        ),
        (
            "a source score that rises by 0.6",
            halves,
            np.array([0.4, 0.5, 0.6]),
            np.array([0.2, 0.3, 0.8]),
            0.1,
        ),
        (
            "a source score that falls and recovers",
            halves,
            np.array([0.4, 0.5, 0.6]),
            np.array([0.8, 0.2, 0.75]),
            0.1,
        ),
        ("alpha = 0 alone", np.zeros(1), np.array([0.4]), np.array([0.8]), 0.1),
    ]
    random = np.random.RandomState(2)
    for n in (5, 8, 11):
        alphas = np.linspace(0, 1, n)
        scores = (
            random.permutation(np.linspace(0.3, 0.8, n)),
            random.permutation(np.linspace(0.2, 0.7, n)),
        )
        yield f"{n} alphas with scores in no order, with 0.21 to lose", alphas, *scores, 0.21


def _start(alphas, scores):
    return scores[alphas == 0][0]


def _until_lost(alphas, target, source, most):
    lost = alphas[_loss(alphas, source) > most].min(initial=np.inf)
    return _chosen(alphas, target, alphas < lost)


def _loss(alphas, source):
    return _start(alphas, source) - source


CHOOSE_ALPHA_MISTAKES = {
    "The limit on the source is missing: leave out every alpha that loses more than `most`.": lambda a, t, s, most: (
        _chosen(a, t, np.ones(len(a), bool))
    ),
    "Of equal target scores take the smallest alpha: it is nearest to the network you know.": lambda a, t, s, most: (
        _chosen(a, t, _loss(a, s) <= most, -1)
    ),
    "The loss counts from alpha = 0, the network before, not from the best source score.": lambda a, t, s, most: (
        _chosen(a, t, s.max() - s <= most)
    ),
    "Alpha = 0 need not come first: find it by its value.": lambda a, t, s, most: (
        _chosen(a, t, s[0] - s <= most) if s[0] - s[0] <= most else 0.0
    ),
    "The loss is a difference of scores, not a share of them.": lambda a, t, s, most: _chosen(
        a, t, 1 - s / _start(a, s) <= most
    ),
    "The largest alpha allowed need not be the best one: compare the target scores of those allowed.": lambda a, t, s, most: (
        float(a[_loss(a, s) <= most].max())
    ),
    "Target and source are swapped: the target is to be high, the source not to be lost.": lambda a, t, s, most: (
        _chosen(a, s, _loss(a, t) <= most)
    ),
    "The sum of both has no limit: first leave out what loses too much, then take the highest target score.": lambda a, t, s, most: (
        float(a[np.argmax(t + s)])
    ),
    "That is the position: return the alpha itself.": lambda a, t, s, most: int(
        np.flatnonzero(a == _choose_alpha(a, t, s, most))[0]
    ),
    "That is its score: return the alpha itself.": lambda a, t, s, most: float(
        t[a == _choose_alpha(a, t, s, most)][0]
    ),
    "A loss of exactly `most` is allowed: <=, not <.": lambda a, t, s, most: _chosen(
        a, t, (_loss(a, s) < most) | (a == 0)
    ),
    "Of equal target scores you took the first, and 0 stands for what is not allowed; alphas come in any order, and a score may be 0.": lambda a, t, s, most: (
        float(a[np.where(_loss(a, s) <= most, t, 0).argmax()])
    ),
    "Of equal target scores you took the first, but the alphas come in any order: take the smallest.": lambda a, t, s, most: (
        float(a[np.where(_loss(a, s) <= most, t, -np.inf).argmax()])
    ),
    "A source score that rises loses nothing: compare the difference, not its absolute value.": lambda a, t, s, most: (
        _chosen(a, t, np.abs(_loss(a, s)) <= most)
    ),
    "You stopped at the first alpha that loses too much; a larger one may be allowed again.": _until_lost,
}
