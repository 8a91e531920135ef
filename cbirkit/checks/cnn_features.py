"""Checks of notebook 03: what a cell sees, GeM that no power breaks."""

import numpy as np

from cbirkit.checks._run import Case, Mistake, run_check


def check_seen_pixels(answer):
    """Check ``seen_pixels(layers, cell)``: the first and the last input pixel, along one axis, on which a cell depends.

    Parameters
    ----------
    answer : callable
        Takes `layers`, a list of (kernel, stride, padding) from the first to the last, padding being what stands before the first
        position, and `cell`, a position of the last map; returns a tuple (first, last) of whole numbers. They are not cut at the
        border: in front of the image they are negative.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_seen_pixels(lambda layers, cell: (cell, cell)).passed
    False
    """
    return run_check(answer, _seen_pixels, _seen_cases(), mistakes=SEEN_MISTAKES)


def _seen_pixels(layers, cell):
    return _walk(layers, cell)


def _walk(layers, cell, *, pad=1, backwards=True, extra=0, both=False):
    """First and last pixel and, by its switches, what goes wrong on the way back to them."""
    first, last = cell, cell
    for kernel, stride, padding in layers[::-1] if backwards else layers:
        first = first * stride - pad * padding
        last = last * stride - (0 if both else pad * padding) + kernel - 1 + extra
    return first, last


def _seen_cases():
    random = np.random.RandomState(0)
    cases = [
        Case(([(3, 1, 0)], 0), "one convolution 3 wide, without padding"),
        Case(([(3, 1, 1)], 0), "one convolution 3 wide with padding 1, at the border"),
        Case(([(3, 2, 1)], 5), "one convolution 3 wide of stride 2"),
        Case(([(3, 2, 0), (3, 1, 1)], 4), "stride 2, then stride 1"),
        Case(([(3, 1, 1), (3, 2, 0)], 4), "stride 1, then stride 2"),
        Case(([(1, 1, 0), (1, 1, 0)], 3), "two convolutions 1 wide: a pixel sees itself"),
        Case(([], 3), "no layer: a pixel sees itself"),
        Case(([(5, 2, 1), (2, 3, 2)], 0), "padding that is not half the kernel"),
        Case(([(3, 2, 1), (5, 1, 0)], 200), "cell 200"),
    ]
    for n in random.randint(3, 8, size=8):
        layers = [
            (int(k), int(random.choice([1, 1, 2, 3])), int(k) // 2)
            for k in random.choice([1, 2, 3, 5, 7], n)
        ]
        cell = int(random.randint(10))
        cases.append(Case((layers, cell), f"layers {layers} and cell {cell}"))
    return cases


def _side_only(layers, cell):
    first, last = _walk(layers, cell)
    return 0, last - first


def _without_strides(layers, cell):
    return _walk([(kernel, 1, padding) for kernel, _, padding in layers], cell)


SEEN_MISTAKES = (
    Mistake(
        lambda layers, cell: _walk(layers, cell, pad=0),
        "The padding is missing: position 0 begins `padding` before the map.",
    ),
    Mistake(
        lambda layers, cell: _walk(layers, cell, backwards=False),
        "The walk goes back from the last layer to the image: begin with layers[-1].",
    ),
    Mistake(
        lambda layers, cell: _walk(layers, cell, extra=1),
        "One too many: a kernel that begins at x ends at x + kernel - 1.",
    ),
    Mistake(
        lambda layers, cell: _walk(layers, cell, both=True),
        "The last pixel moves by the padding, too.",
    ),
    Mistake(
        _without_strides,
        "The strides are missing: position x of a layer of stride s begins at x * s in the map before it.",
    ),
    Mistake(
        _side_only,
        "The size is right, the place is not: follow the cell, first = first * stride - padding.",
    ),
    Mistake(lambda layers, cell: _walk(layers, cell)[::-1], "The order is (first, last)."),
    Mistake(
        lambda layers, cell: tuple(max(end, 0) for end in _walk(layers, cell)),
        "You cut at the border; the pixels asked for may lie in the padding, where their numbers are negative.",
    ),
    Mistake(
        lambda layers, cell: _walk(
            [(kernel, stride, kernel // 2) for kernel, stride, _ in layers], cell
        ),
        "The padding need not be half the kernel: take it from the layer.",
    ),
)


def check_stable_gem(answer):
    """Check ``stable_gem(maps, p)``: generalised mean over positions, for every p from 1 to infinity, in float32.

    Parameters
    ----------
    answer : callable
        Takes `maps` (n, c, h, w) float32 >= 0 and `p` >= 1, which may be ``np.inf``; returns floats (n, c). Of a map of zeros: 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_stable_gem(lambda maps, p: maps.mean(axis=(2, 3))).passed
    False
    """
    return run_check(answer, _stable_gem, _gem_cases(), mistakes=GEM_MISTAKES, tolerance=1e-5)


def _stable_gem(maps, p):
    top = maps.max(axis=(2, 3), keepdims=True).astype(np.float64)
    if np.isinf(p):
        return top[:, :, 0, 0]
    shares = maps / np.where(top > 0, top, 1)
    return (shares**p).mean(axis=(2, 3)) ** (1 / p) * top[:, :, 0, 0]


def _gem_cases():
    random = np.random.RandomState(1)

    def maps(*shape):
        return (random.gamma(0.6, 1.0, shape) * (random.rand(*shape) < 0.7)).astype(np.float32)

    two = np.array([[[[1.0, 3.0]]]], dtype=np.float32)
    cases = [
        Case((two, 1), "the map [1, 3] and p = 1, which is the average"),
        Case((two, 2), "the map [1, 3] and p = 2"),
        Case((two, np.inf), "the map [1, 3] and p = infinity, which is the maximum"),
        Case((maps(2, 3, 4, 5), 3), "two images of three random maps and p = 3"),
        Case((maps(3, 2, 2, 6), 1.5), "p = 1.5"),
        Case(
            (np.zeros((1, 2, 3, 3), np.float32), 3), "maps of zeros, whose mean is 0 whatever p is"
        ),
        Case(
            (0.01 * maps(2, 3, 4, 4), 64),
            "small numbers and p = 64: 0.01 to the power of 64 is 0 in float32",
        ),
        Case(
            (20 * maps(2, 3, 4, 4), 200),
            "large numbers and p = 200: 20 to the power of 200 is infinite in float32",
        ),
    ]
    one_silent, uneven = maps(2, 3, 2, 2), maps(2, 3, 4, 4)
    one_silent[1, 1], uneven[0, 0] = 0, 0.001 * uneven[0, 0]
    cases += [
        Case((one_silent, 3), "a map of zeros among others"),
        Case((one_silent, np.inf), "a map of zeros among others and p = infinity"),
        Case(
            (uneven, 200),
            "a map of small numbers among others and p = 200: each has its own maximum",
        ),
        Case((maps(2, 2, 3, 3), 1000), "p = 1000: even float64 ends before 3 to the power of 1000"),
        Case((maps(1, 1, 1, 1) + 1, 3), "a map of one cell"),
    ]
    for p in (1, 2.5, 4, 10, np.inf):
        cases.append(
            Case(
                (maps(*random.randint(1, 5, 2), *random.randint(1, 7, 2)), p),
                f"random maps and p = {p}",
            )
        )
    return cases


def _plain_gem(maps, p, *, root=True, mean=np.mean, axes=(2, 3)):
    with np.errstate(all="ignore"):
        if np.isinf(p):
            return maps.max(axis=axes)
        total = mean(maps**p, axis=axes)
        return total ** (1 / p) if root else total


def _switched_gem(maps, p, *, guard=1.0, back=True):
    """The stable GeM and, by its switches, what goes wrong with it."""
    with np.errstate(all="ignore"):
        top = maps.max(axis=(2, 3), keepdims=True).astype(np.float64)
        shares = maps / (np.where(top > 0, top, guard) if guard else top)
        powered = (shares**p).mean(axis=(2, 3))
        value = np.ones_like(powered) if np.isinf(p) else powered ** (1 / p)
        return value * (top[:, :, 0, 0] if back else 1)


GEM_MISTAKES = (
    Mistake(
        _plain_gem,
        "x ** p has left the range of float32: divide each map by its maximum first, and multiply by it at the end.",
    ),
    Mistake(
        lambda maps, p: _switched_gem(maps, p, guard=None),
        "A map of zeros became NaN (0 / 0): where the maximum is 0, divide by something else.",
    ),
    Mistake(
        lambda maps, p: _switched_gem(maps, p, back=False),
        "You divided by the maximum; multiply by it at the end.",
    ),
    Mistake(
        lambda maps, p: _plain_gem(maps, p, root=False),
        "The p-th root is missing: total ** (1 / p).",
    ),
    Mistake(
        lambda maps, p: _plain_gem(maps, p, mean=np.sum),
        "That is a sum over positions: GeM takes the mean before the root.",
    ),
    Mistake(
        lambda maps, p: _plain_gem(maps, p, axes=(1, 2)),
        "You averaged over the wrong axes: positions are axes 2 and 3.",
    ),
    Mistake(lambda maps, p: maps.mean(axis=(2, 3)), "That is the average, whatever p is."),
    Mistake(lambda maps, p: maps.max(axis=(2, 3)), "That is the maximum, whatever p is."),
    Mistake(
        lambda maps, p: _plain_gem(maps.astype(np.float64), p),
        "float64 only moves the limit: for every p, divide each map by its maximum first, and multiply by it at the end.",
    ),
)
