"""Checks of notebook 23: coverage of real pictures by samples, a test of copying, and a choice among samples, which is open."""

from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from .running import Verdict, open_answer, run_check


def check_sample_coverage(answer):
    """Check ``sample_coverage(real, samples, k)``: the fraction of real pictures with a sample in their ball.

    Parameters
    ----------
    answer : callable
        Takes `real` (n, d), at least two rows, `samples` (m, d) and `k`; returns the fraction of the n balls that hold at least one sample,
        edge included. A ball's radius is the distance to the k-th nearest other real picture, to the farthest where there are fewer.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_sample_coverage(lambda real, samples, k: 1.0).passed
    False
    """
    return run_check(answer, _sample_coverage, _coverage_cases(), mistakes=COVERAGE_MISTAKES)


def _balls(points, k, metric="euclidean"):
    distances = cdist(points, points, metric)
    np.fill_diagonal(distances, -1)
    return np.sort(distances, axis=1)[:, min(max(k, 0), len(points) - 1)]


def _sample_coverage(real, samples, k):
    return float((cdist(real, samples) <= _balls(real, k)[:, None]).any(axis=1).mean())


def _coverage_cases():
    random = np.random.RandomState(0)
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    real, samples = random.randn(20, 3), random.randn(15, 3)
    copies = np.concatenate([real[:6], real[:6], real[:2]])
    yield from [
        ("four real pictures and one sample, k = 1", line, np.array([[2.5]]), 1),
        ("a sample at the edge of a ball", line, np.array([[11.0]]), 1),
        ("a sample just outside a ball", line, np.array([[11.01]]), 1),
        ("the same pictures with k = 2", line, np.array([[11.01]]), 2),
        ("the same pictures with k = 3", line, np.array([[-5.0]]), 3),
        ("k larger than the number of other pictures", line, np.array([[-6.5]]), 9),
        ("no samples", line, np.empty((0, 1)), 1),
        ("many samples at one place", line, np.full((40, 1), 0.9), 1),
        ("two real pictures", line[:2], np.array([[1.9], [5.0]]), 1),
        ("real pictures of which there are copies", copies, samples, 1),
        ("copies, and samples equal to them", copies, real[4:9], 1),
        ("samples that are the real pictures", real, real.copy(), 3),
        ("20 real pictures and 15 samples, k = 3", real, samples, 3),
        ("few real pictures and many samples", real[:5], random.randn(60, 3), 2),
        ("spread samples", real, 3 * samples, 5),
    ]


def _without_copies(real, samples, k):
    distances = cdist(real, real)
    distances[distances == 0] = np.inf
    radius = np.sort(distances, axis=1)[:, min(k, len(real) - 1) - 1]
    return float((cdist(real, samples) <= radius[:, None]).any(axis=1).mean())


def _mean_of(hits, axis):
    return float(hits.any(axis=axis).mean()) if hits.size else 0.0


def _nearest_only(real, samples, k):
    met = np.unique(cdist(samples, real).argmin(axis=1)) if len(samples) else []
    return len(met) / len(real)


COVERAGE_MISTAKES = {
    "The picture itself is not its neighbour: your radius is that of k - 1.": lambda r, s, k: _mean_of(
        cdist(r, s) <= np.sort(cdist(r, r), axis=1)[:, [min(k, len(r)) - 1]], 1
    ),
    "Your radius is that of k + 1.": lambda r, s, k: _sample_coverage(r, s, k + 1),
    "A sample at the edge of a ball is inside: `<=`.": lambda r, s, k: _mean_of(cdist(r, s) < _balls(r, k)[:, None], 1),
    "This is precision: the fraction of the samples. Ask which balls hold one.": lambda r, s, k: _mean_of(cdist(r, s) <= _balls(r, k)[:, None], 0),
    "These are balls around samples (recall): draw them around real pictures.": lambda r, s, k: (
        _mean_of(cdist(r, s) <= _balls(s, k)[None], 1) if len(s) > 1 else 0.0
    ),
    "This counts the real pictures that are some sample's nearest; ask which balls hold a sample.": _nearest_only,
    "A copy at distance 0 is another picture: leave out only the picture itself.": _without_copies,
    "Here every ball has the mean radius: each has its own.": lambda r, s, k: _mean_of(cdist(r, s) <= _balls(r, k).mean(), 1),
    "This is density: each ball counts once, however many samples it holds.": lambda r, s, k: float((cdist(r, s) <= _balls(r, k)[:, None]).sum() / max(k * len(s), 1)),
    "You compared squared distances with distances.": lambda r, s, k: _mean_of(cdist(r, s) ** 2 <= _balls(r, k)[:, None], 1),
    "The distance is Euclidean, not the sum of absolute differences.": lambda r, s, k: _mean_of(
        cdist(r, s, "cityblock") <= _balls(r, k, "cityblock")[:, None], 1
    ),
    "Without samples nothing is covered: 0.": lambda r, s, k: _sample_coverage(r, s, k) if len(s) else float("nan"),
}  # fmt: skip


def check_copying_score(answer):
    """Check ``copying_score(train, held_out, samples)``: how often a sample is nearer to the training pictures than a held-out one.

    Parameters
    ----------
    answer : callable
        Takes three arrays with d columns and at least one row; returns the fraction of all pairs of a sample and a held-out picture in
        which the sample's nearest training picture is nearer; equal distances count half.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_copying_score(lambda train, held_out, samples: 0.5).passed
    False
    """
    return run_check(answer, _copying_score, _copying_cases(), mistakes=COPYING_MISTAKES)


def _copying_score(train, held_out, samples, tie=0.5, to=np.min):
    of_samples, of_real = (to(cdist(rows, train), axis=1) for rows in (samples, held_out))
    difference = of_samples[:, None] - of_real
    return float((difference < 0).mean() + tie * (difference == 0).mean())


def _copying_cases():
    random = np.random.RandomState(1)
    train, held_out, samples = random.randn(12, 4), random.randn(9, 4), random.randn(14, 4)
    line = np.array([[0.0], [10.0]])
    whole = [random.randint(0, 4, (n, 2)).astype(float) for n in (7, 8, 9)]
    yield from [
        ("copies of training pictures", train, held_out, train[:5]),
        ("samples that are the held-out pictures", train, held_out, held_out.copy()),
        ("samples far from everything", train, held_out, samples + 50),
        ("one sample, one held-out picture", line, np.array([[3.0]]), np.array([[8.0]])),
        ("a sample near the second training picture", line, np.array([[2.0]]), np.array([[11.0]])),
        ("a tie", line, np.array([[2.0]]), np.array([[8.0]])),
        ("a tie, a nearer and a farther one", line, np.array([[2.0]]), np.array([[8.0], [9.0], [5.0]])),
        ("whole numbers, with many ties", *whole),
        ("half of the samples copied, the others far away", train, held_out, np.concatenate([train[:6], samples[:6] + 9])),
        ("more held-out pictures than samples", train, held_out, samples[:4]),
        ("9 held-out pictures and 14 samples", train, held_out, samples),
    ]  # fmt: skip


def _by_position(train, held_out, samples):
    n = min(len(held_out), len(samples))
    a, b = (cdist(rows[:n], train).min(axis=1) for rows in (samples, held_out))
    return float((a < b).mean() + (a == b).mean() / 2)


def _against(middle, train, held_out, samples):
    a, b = (cdist(rows, train).min(axis=1) for rows in (samples, held_out))
    return float((a < middle(b)).mean() + (a == middle(b)).mean() / 2)


COPYING_MISTAKES = {
    "Equal distances count half: you left them out.": partial(_copying_score, tie=0),
    "Equal distances count half: you counted them fully.": partial(_copying_score, tie=1),
    "It is the other way round: a copier is to get 1.": lambda t, h, s: _copying_score(t, s, h),
    "You took the mean distance to all training pictures: take the nearest.": partial(_copying_score, to=np.mean),
    "You took the farthest training picture: take the nearest.": partial(_copying_score, to=np.max),
    "This compares samples with held-out pictures of the same position: compare all pairs.": _by_position,
    "This compares with the median held-out distance: compare all pairs.": partial(_against, np.median),
    "This compares with the mean held-out distance: compare all pairs.": partial(_against, np.mean),
    "You measured how near samples are to held-out pictures: both distances are to the training pictures.": lambda t, h, s: (
        _copying_score(h, t, s)
    ),
    "This is the fraction of exact copies; near ones count, too.": lambda t, h, s: float((cdist(s, t).min(axis=1) == 0).mean()),
    "This measures from training pictures to samples: begin at the samples.": lambda t, h, s: float(
        np.mean(np.sign(cdist(t, h).min(axis=1)[:, None] - cdist(t, s).min(axis=1)) / 2 + 0.5)
    ),
    "This is a difference from 0.5: return the fraction itself.": lambda t, h, s: _copying_score(t, h, s) - 0.5,
}  # fmt: skip

# ------------------------------------------------------------------ open

_SECONDS, _GAIN, _DRAWS = 20.0, 0.02, 4


def check_keep_samples(answer):
    """Check ``keep_samples(real, labels, samples, sample_labels)``, an open exercise: which generated pictures are worth training on?

    Parameters
    ----------
    answer : callable
        Takes `real` (n, 64) and their `labels`, `samples` (m, 64) and the labels they were made for; returns bool (m,). With what is kept
        beside the real ones, the nearest neighbour has to name digits of other people more often than with the real ones alone, and than
        with all samples, by 0.02 each, on average over four draws. The samples come from a bad generator that the check makes: some are
        good, some belong to another class, some lie between two classes.

    Returns
    -------
    Verdict
        The message tells the three accuracies.

    Examples
    --------
    >>> check_keep_samples(lambda real, labels, samples, sample_labels: np.ones(len(samples), bool)).status
    'not yet'
    """
    name, scores = "keep_samples", []
    for seed in range(_DRAWS):
        given, test = _bad_generator(seed)
        fault = partial(_no_mask, len(given[2]))
        kept, ended = open_answer(name, answer, given, _SECONDS, fault)
        if ended:
            return ended
        kept = np.asarray(kept)
        every, none = np.ones(len(kept), bool), np.zeros(len(kept), bool)
        scores.append([_accuracy(*given, mask, *test) for mask in (kept, none, every)])
    ours, real, both = np.mean(scores, axis=0)
    told = f"accuracy {ours:.3f} with what you keep, {real:.3f} with the real pictures alone, {both:.3f} with all samples"
    if ours >= max(real, both) + _GAIN:
        return Verdict(name, "passed", f"{told} (mean of {_DRAWS} draws).", 1.0)
    why = f"reach {max(real, both) + _GAIN:.3f}. What do the real pictures say about the label of a sample?"
    return Verdict(name, "not yet", f"{told}: {why}")


def _no_mask(n, value):
    try:
        mask = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        mask = np.empty(0)
    if mask.shape != (n,) or mask.dtype != bool:
        return f"expected {n} values True or False, one per sample, got {type(value).__name__} of shape {mask.shape}, {mask.dtype}."
    return None


def _bad_generator(seed):
    """(real, labels, samples, labels they were made for), and (pictures, labels) to test with."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    random, pixels = np.random.RandomState(seed), pixels / 16
    first = random.permutation(915)  # the digits of the first seven writers
    real = np.concatenate([first[classes[first] == c][:5] for c in range(10)])
    others = np.setdiff1d(first, real)
    made, mixed = random.choice(others, 300), random.choice(others, 300)
    weight = np.where(random.rand(300) < 0.3, random.uniform(0.4, 0.6, 300), 0.1)[:, None]
    samples = (1 - weight) * pixels[made] + weight * pixels[mixed]
    wrong = np.where(random.rand(300) < 0.3, random.randint(0, 10, 300), classes[made])
    return (pixels[real], classes[real], samples, wrong), (pixels[915:], classes[915:])


def _accuracy(real, labels, samples, sample_labels, kept, test, truth):
    known, names = (
        np.concatenate([real, samples[kept]]),
        np.concatenate([labels, sample_labels[kept]]),
    )
    return float((names[cdist(test, known).argmin(axis=1)] == truth).mean())
