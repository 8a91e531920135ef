"""Checks of notebook 22: what survives several attacks, a gradient through signs, one step of PGD, the bug in an attack on normalised tensors."""

from functools import partial

import numpy as np

from .running import run_check


def check_robust_recall(answer):
    """Check ``robust_recall(hits)``: the share of queries that no attack breaks.

    Parameters
    ----------
    answer : callable
        Takes `hits`, bool (n_attacks, n_queries): whether the first result was right under each attack; returns a float.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_robust_recall(lambda hits: hits.mean(axis=1).min()).passed
    False
    """
    return run_check(answer, _robust_recall, _hit_cases(), mistakes=RECALL_MISTAKES)


def _robust_recall(hits):
    return float(np.asarray(hits).all(axis=0).mean())


def _hit_cases():
    random = np.random.RandomState(0)
    yield from [
        (
            "two attacks that break different queries",
            np.array([[True, False, True], [False, True, True]]),
        ),
        ("four attacks on thirty queries", random.rand(4, 30) < 0.8),
        ("a single attack", random.rand(1, 7) < 0.5),
        ("attacks that break nothing", np.ones((3, 5), bool)),
        (
            "attacks that together break every query: the answer is 0",
            np.array([[True, False, True], [False, True, False]]),
        ),
        ("attacks that break everything, each of them", np.zeros((2, 4), bool)),
        (
            "an attack that breaks nothing and one that breaks a query",
            np.array([[True, True, True], [True, False, True]]),
        ),
        ("one attack on one query", np.ones((1, 1), bool)),
    ]


def _of_survivors(hits):
    left = hits[:, hits.all(axis=0)]
    with np.errstate(all="ignore"):
        return float(np.divide(left.sum(), left.size))


RECALL_MISTAKES = {
    "That is the best single attack; the attacker may choose another one for each query.": lambda hits: (
        float(hits.mean(axis=1).min())
    ),
    "That is the mean over attacks: nobody attacks with an average.": lambda hits: float(
        hits.mean()
    ),
    "That counts queries that survive some attack; they have to survive all: .all(axis=0).": lambda hits: (
        float(hits.any(axis=0).mean())
    ),
    "That is the share of attacks that break nothing: queries are columns, so reduce over axis 0 first.": lambda hits: (
        float(hits.all(axis=1).mean())
    ),
    "That is a number of queries; divide by how many there are.": lambda hits: int(
        hits.all(axis=0).sum()
    ),
    "You averaged over the queries that survive, which gives 1, or NaN where none does: the share is of all queries.": _of_survivors,
    "That asks whether no query is broken at all: .all(axis=0) asks it of each query.": lambda hits: (
        float(hits.all())
    ),
    "That is the share of queries that some attack breaks: return the share that none breaks.": lambda hits: (
        float(1 - hits.all(axis=0).mean())
    ),
    "A product of means takes the attacks for independent: ask query by query.": lambda hits: float(
        hits.mean(axis=1).prod()
    ),
}


def check_signs_backward(answer):
    """Check ``signs_backward(embeddings, slope)``: the backward pass of BPDA where an engine stores signs only.

    Parameters
    ----------
    answer : callable
        Takes `embeddings` and `slope` (n, d), the gradient of an objective with respect to their signs; returns the gradient (n, d) with
        respect to the embeddings as if the signs were tanh(e / w), with w the mean of the absolute values of a row, held
        constant; 0 where w is 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_signs_backward(lambda embeddings, slope: slope).passed
    False
    """
    return run_check(answer, _signs_backward, _signs_cases(), mistakes=SIGNS_MISTAKES)


def _width(e, axis=1):
    return np.maximum(np.abs(e).mean(axis=axis, keepdims=True), 1e-300)


def _signs_backward(e, slope, width=_width, bend=lambda at: 1 - np.tanh(at) ** 2, by=1):
    w = width(e)
    return slope * bend(e / w) / w**by * (np.abs(e).max(axis=1, keepdims=True) > 0)


def _signs_cases():
    random = np.random.RandomState(0)
    yield "one image of two numbers", np.array([[0.5, -1.5]]), np.array([[1.0, 2.0]])
    yield "four images", random.randn(4, 6), random.randn(4, 6)
    yield "rows of very different length", random.randn(3, 5) * [[0.01], [1], [30]], random.randn(3, 5)  # fmt: skip
    yield "an image whose embedding is 0, which gets no gradient", random.randn(2, 3) * [[1], [0]], random.randn(2, 3)  # fmt: skip


SIGNS_MISTAKES = {
    "That is the gradient of the sign itself, 0 everywhere: the attack gets nothing.": lambda e, slope: 0 * slope,
    "That is the identity as a stand-in: use tanh(e / w).": lambda e, slope: slope,
    "That is the stand-in, not its derivative: the derivative of tanh is 1 - tanh².": partial(_signs_backward, bend=np.tanh, by=0),
    "The inner derivative is missing: divide by w.": partial(_signs_backward, by=0),
    "The derivative of tanh is 1 - tanh², not 1 - tanh.": partial(_signs_backward, bend=lambda at: 1 - np.tanh(at)),
    "Each image has its own width w: take the mean over axis 1.": partial(_signs_backward, width=lambda e: _width(e, None)),
    "w is the mean of |e|, not its root mean square.": partial(_signs_backward, width=lambda e: np.sqrt(_width(e**2))),
    "Where an embedding is 0, w is 0, and 0 / 0 is NaN: return 0 there.": lambda e, slope: slope * (1 - np.tanh(e / np.abs(e).mean(axis=1, keepdims=True)) ** 2) / np.abs(e).mean(axis=1, keepdims=True),
}  # fmt: skip


def check_pgd_step(answer):
    """Check ``pgd_step(at, gradient, clean, size, epsilon)``: one step uphill in L2, and back to what is allowed.

    Parameters
    ----------
    answer : callable
        Takes `at`, `gradient` and `clean` (n, 3, h, w), float64, and two numbers; returns (n, 3, h, w): the step of length
        `size`, its change from `clean` shortened to `epsilon` where it is longer, then clipped to [0, 1].

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_pgd_step(lambda at, gradient, clean, size, epsilon: at + size * np.sign(gradient)).passed
    False
    """
    return run_check(answer, _pgd_step, _step_cases(), mistakes=STEP_MISTAKES)


def _lengths(change):
    return np.maximum(np.sqrt((change**2).sum(axis=(1, 2, 3), keepdims=True)), 1e-12)


def _kept(moved, clean, epsilon):
    """Moved images, in the ball and in [0, 1]."""
    return np.clip(clean + (moved - clean) * np.minimum(1, epsilon / _lengths(moved - clean)), 0, 1)


def _pgd_step(at, gradient, clean, size, epsilon):
    return _kept(at + size * gradient / _lengths(gradient), clean, epsilon)


def _step_cases():
    random = np.random.RandomState(0)

    def images(n, low, high, offset, size, epsilon, scale=1.0):
        clean = random.uniform(low, high, (n, 3, 4, 4))
        at = np.clip(clean + random.uniform(-offset, offset, clean.shape), 0, 1)
        return at, scale * random.randn(*clean.shape), clean, size, epsilon

    still = images(2, 0.4, 0.6, 0.02, 0.1, 0.3)
    still[1][0] = 0
    yield from [
        ("a first step from the image itself", *images(2, 0.4, 0.6, 0.0, 0.1, 0.3)),
        ("a step that stays in the ball", *images(2, 0.4, 0.6, 0.01, 0.05, 0.5)),
        ("a step that would leave the ball", *images(3, 0.4, 0.6, 0.04, 0.2, 0.2)),
        ("dark images, where pixels would become negative", *images(2, 0, 0.03, 0.03, 0.3, 0.2)),
        ("bright images and tiny gradients", *images(1, 0.95, 1, 0.1, 0.6, 0.5, 1e-6)),
        ("one image of two with a gradient of zero, which does not move", *still),
        ("epsilon 0, which must give the image back", *images(1, 0.4, 0.6, 0.0, 0.1, 0.0)),
    ]


STEP_MISTAKES = {
    "The pixels are valid, but nothing keeps the change within epsilon.": lambda at, g, clean, size, eps: (
        np.clip(at + size * g / _lengths(g), 0, 1)
    ),
    "The ball is kept, but pixels below 0 or above 1 are no picture: clip at the end.": lambda at, g, clean, size, eps: (
        clean + np.minimum(1, eps / _lengths(d := at + size * g / _lengths(g) - clean)) * d
    ),
    "You projected to a ball around the last point: it moves along. The ball stays around the clean image.": lambda at, g, clean, size, eps: (
        _kept(at + size * g / _lengths(g), at, eps)
    ),
    "That goes downhill: add the gradient.": lambda at, g, *others: _pgd_step(at, -g, *others),
    "The gradient itself has any length: divide it by its length.": lambda at, g, clean, size, eps: (
        _kept(at + size * g, clean, eps)
    ),
    "That is the step of L-inf: in L2 go along the gradient, not along its sign.": lambda at, g, clean, size, eps: (
        _kept(at + size * np.sign(g), clean, eps)
    ),
    "That is one length for the whole batch: each image has its own.": lambda at, g, clean, size, eps: (
        _kept(at + size * g / max(np.linalg.norm(g), 1e-12), clean, eps)
    ),
    "Where the gradient is 0, dividing by its length gives 0 / 0, NaN.": lambda at, g, clean, size, eps: (
        _kept(at + size * g / np.sqrt((g**2).sum(axis=(1, 2, 3), keepdims=True)), clean, eps)
    ),
    "You stretch every change to the length epsilon; one that is short enough stays as it is.": lambda at, g, clean, size, eps: (
        np.clip(clean + eps * (d := at + size * g / _lengths(g) - clean) / _lengths(d), 0, 1)
    ),
}


def _signs(gradient, at_zero):
    return np.where(gradient == 0, at_zero, np.sign(gradient))


_SIGNS = {  # what a wrong sign makes of 0
    1: "Where the gradient is 0 the pixel stays: `np.sign` gives 0 there, a comparison with 0 gives +1.",
    -1: "Where the gradient is 0 the pixel stays: `np.sign` gives 0 there, a comparison with 0 gives -1.",
    np.nan: "Where the gradient is 0, gradient / |gradient| is 0 / 0, NaN: use np.sign.",
}


def check_mended_attack(answer):
    """Check ``mended_attack(normalised, gradient, epsilon, mean, std)``: FGSM on a normalised image, bounded in pixels.

    Parameters
    ----------
    answer : callable
        Takes `normalised` and its `gradient` (n, 3, h, w), `epsilon` in pixels of [0, 1], `mean` and `std` (3,); returns the
        attacked image, normalised: its pixels differ by at most `epsilon` from those of the image and lie in [0, 1].

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_mended_attack(lambda normalised, gradient, epsilon, mean, std: normalised + epsilon * np.sign(gradient)).passed
    False
    """
    return run_check(answer, _mended_attack, _normalised_cases(), mistakes=NORMALISED_MISTAKES)


def _columns(mean, std):
    return np.reshape(mean, (3, 1, 1)), np.reshape(std, (3, 1, 1))


def _mended_attack(normalised, gradient, epsilon, mean, std):
    middle, spread = _columns(mean, std)
    pixels = normalised * spread + middle
    moved = np.clip(pixels + epsilon * np.sign(gradient), 0, 1)
    return (moved - middle) / spread


def _normalised_cases():
    random = np.random.RandomState(1)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def case(n, low, high, epsilon, mean=mean, std=std, shape=(4, 5)):
        middle, spread = _columns(mean, std)
        pixels = random.uniform(low, high, (n, 3, *shape))
        return (pixels - middle) / spread, random.randn(*pixels.shape), epsilon, mean, std

    uneven = np.array([0.1, 0.5, 1.0])
    still = case(2, 0.3, 0.7, 0.05)
    still[1][:, :, 1:3] = 0
    yield from [
        ("a gradient that is zero at half of the pixels, which stay", *still),
        ("grey images and the mean and std of ImageNet", *case(2, 0.3, 0.7, 8 / 255)),
        (
            "channels of very different std",
            *case(2, 0.3, 0.7, 0.05, np.array([0.1, 0.5, 0.9]), uneven),
        ),
        ("dark images, where pixels would become negative", *case(1, 0.0, 0.04, 0.05)),
        (
            "bright images of three by three pixels",
            *case(1, 0.96, 1.0, 0.05, uneven, uneven, shape=(3, 3)),
        ),
        ("epsilon 0, which must change nothing", *case(1, 0.2, 0.8, 0.0)),
    ]


def _bounded_by_normalised(normalised, gradient, epsilon, mean, std):
    middle, spread = _columns(mean, std)
    return np.clip(
        normalised + epsilon * np.sign(gradient), -middle / spread, (1 - middle) / spread
    )


def _unclipped(normalised, gradient, epsilon, mean, std):
    return normalised + epsilon * np.sign(gradient) / _columns(mean, std)[1]


def _multiplied(normalised, gradient, epsilon, mean, std):
    return normalised + epsilon * np.sign(gradient) * _columns(mean, std)[1]


NORMALISED_MISTAKES = {
    "That is the attack with the bug: 0 and 1 are the ends of pixels, not of normalised numbers, and epsilon is in pixels.": lambda x, g, eps, mean, std: (
        np.clip(x + eps * np.sign(g), 0, 1)
    ),
    "The ends are right, but epsilon is added to normalised numbers: in pixels that is only std times as much.": (
        _bounded_by_normalised,
        1 / 2,
    ),
    "Nothing keeps the pixels in [0, 1], and epsilon is added to normalised numbers.": lambda x, g, eps, mean, std: (
        x + eps * np.sign(g)
    ),
    "The step is right, but nothing keeps the pixels in [0, 1].": (_unclipped, 1 / 2),
    "Normalising divides by std, so a step of epsilon pixels is epsilon / std, not epsilon * std.": _multiplied,
    "Those are pixels; normalise them again before you return them.": lambda x, g, eps, mean, std: (
        _mended_attack(x, g, eps, mean, std) * _columns(mean, std)[1] + _columns(mean, std)[0]
    ),
    "mean and std belong to channels: reshape them to (3, 1, 1), do not average them.": lambda x, g, eps, mean, std: (
        _mended_attack(x, g, eps, np.full(3, np.mean(mean)), np.full(3, np.mean(std)))
    ),
    **{
        words: lambda x, g, *others, zero=zero: _mended_attack(x, _signs(g, zero), *others)
        for zero, words in _SIGNS.items()
    },
}
