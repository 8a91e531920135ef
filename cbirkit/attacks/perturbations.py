"""Attacks: what a perturbation may be, how one is found by gradients or by score, and what comes of it."""

import dataclasses
import math
import zlib

import numpy as np

from cbirkit._optional import require
from cbirkit.encoders.base import check_choice, check_count, check_number

from .pixels import check_pixels, to_images

_SHRINK = 1 - 1e-5  # float32 sums of squares round; the bound must hold all the same
# of 10,000 calls, when the area of the squares halves
_HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)


class Ball:
    """All images within `epsilon` of given ones, and with pixels in [0, 1].

    Parameters
    ----------
    pixels : tensor (n, 3, h, w)
    epsilon : float
    norm : {"linf", "l2"}
        Largest change of one number; length of the whole change of an image.

    Examples
    --------
    >>> torch = require("torch")
    >>> Ball(torch.full((1, 3, 1, 1), 0.9), 0.25, "linf").project(torch.ones(1, 3, 1, 1) * 2).flatten()
    tensor([1., 1., 1.])
    """

    def __init__(self, pixels, epsilon, norm):
        self.pixels, self.epsilon, self.norm = pixels, float(epsilon), norm
        if norm == "linf":
            self._low, self._high = (_inward(pixels, sign * self.epsilon) for sign in (-1, 1))

    def project(self, moved):
        """The images (n, 3, h, w) that were moved, brought back.

        In L-inf the nearest point. In L2 the nearest of the ball, then cut to [0, 1], which can only shorten the
        change: it is inside both, though not always the nearest such point.
        """
        if self.norm == "linf":
            return moved.clamp(self._low, self._high)
        change = moved - self.pixels
        length = lengths(change)
        scale = (_SHRINK * self.epsilon / length.clamp(min=1e-12)).clamp(max=1)
        kept = self.pixels + change * scale.where(length > _SHRINK * self.epsilon, 1.0)
        return kept.clamp(0, 1)

    def step(self, at, gradient, size):
        """One step of `size` uphill from `at`, projected: along the sign of the gradient, or its unit vector."""
        linf = self.norm == "linf"
        way = gradient.sign() if linf else gradient / lengths(gradient).clamp(min=1e-12)
        return self.project(at + size * way)

    def random(self, seed):
        """One random image of each ball: uniform in the cube, or of random direction and length; see `noise_of`."""
        torch = require("torch")
        draws = noise_of(self.pixels, seed)
        if self.norm == "linf":
            return self.project(self.pixels + self.epsilon * (2 * draws - 1))
        normal = torch.special.ndtri(draws.clamp(1e-6, 1 - 1e-6))
        share = draws[:, :1, :1, :1]
        return self.project(self.pixels + self.epsilon * share * normal / lengths(normal))


def lengths(change):
    """L2 length of each image's change, (n, 1, 1, 1)."""
    return change.flatten(1).double().norm(dim=1).to(change.dtype).view(-1, 1, 1, 1)


def seeds_of(pixels, random_state):
    """One number an image, from `random_state` and the image itself, so that it is the same in any batch."""
    sums = [zlib.crc32(np.ascontiguousarray(one.cpu().numpy())) for one in pixels]
    return [np.random.SeedSequence([int(random_state), checksum]) for checksum in sums]


def noise_of(pixels, random_state):
    """Uniform numbers in [0, 1), one a pixel, drawn for each image by `seeds_of`."""
    draws = map(np.random.default_rng, seeds_of(pixels, random_state))
    drawn = np.stack([draw.random(pixels.shape[1:], dtype=np.float32) for draw in draws])
    return require("torch").from_numpy(drawn).to(pixels)


def _inward(pixels, change):
    """pixels + change in [0, 1], rounded towards pixels, so that the difference is never more than `change`."""
    torch = require("torch")
    exact = pixels.double() + change
    rounded = exact.to(pixels.dtype)
    over = (rounded.double() - exact) * np.sign(change) > 0
    return torch.where(over, torch.nextafter(rounded, pixels), rounded).clamp(0, 1)


def check_epsilon(epsilon, norm):
    """Refuse a bound that is no number >= 0, or that was meant in grey levels."""
    check_choice("norm", norm, ("linf", "l2"))
    high = 1 if norm == "linf" else math.inf
    check_number("epsilon (in pixels of [0, 1], 8 / 255 say)", epsilon, 0, high)


def _check_images(pixels, objective):
    check_pixels(pixels)
    if len(objective) not in (1, len(pixels)):
        raise ValueError(
            f"the objective is for {len(objective)} images, got {len(pixels)}; give one row an image, or one for all"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class AttackedImages:
    """Images after an attack.

    Attributes
    ----------
    pixels : tensor (n, 3, h, w), float32 in [0, 1]
    clean : tensor (n, 3, h, w)
        Before it.
    before, after : ndarray (n,), float32
        The objective.
    calls : int
        Times that the model was asked about each image, gradients included.
    """

    pixels: object
    clean: object
    before: np.ndarray
    after: np.ndarray
    calls: int

    @property
    def largest(self):
        """Largest change of a pixel of each image, (n,)."""
        return (self.pixels - self.clean).abs().flatten(1).amax(dim=1).numpy()

    @property
    def images(self):
        """As a file would hold them: RGB uint8 (n, h, w, 3)."""
        return to_images(self.pixels)

    def __repr__(self):
        means = f"{self.before.mean():.3f} to {self.after.mean():.3f}"
        return f"AttackedImages({len(self.before)} images, objective {means}, largest change {255 * self.largest.max():.1f}/255)"


@dataclasses.dataclass(frozen=True)
class _Attack:
    """What the attacks share: the check of the bound, and the way through the images, a batch at a time."""

    epsilon: float = 8 / 255
    norm, _gradients = "linf", True

    def __post_init__(self):
        check_epsilon(self.epsilon, self.norm)

    def __call__(self, model, pixels, objective, *, random_state=0, batch_size=None):
        """Attack images.

        Parameters
        ----------
        model : callable
            Pixels (n, 3, h, w) in [0, 1] to embeddings (n, d) of length 1, see `attackable`; for `Square` and
            `Noise` it need not be differentiable, see `queryable`.
        pixels : tensor (n, 3, h, w), float32 in [0, 1]
        objective : Away, Towards or Misrank
        random_state : int
        batch_size : int, optional
            Images that the model sees at once; default 32, without gradients 64.

        Returns
        -------
        AttackedImages

        Raises
        ------
        ValueError
            Pixels that are none, or an objective for another number of images.
        """
        _check_images(pixels, objective)
        torch, parts = require("torch"), []
        for which in torch.arange(len(pixels)).split(batch_size or (32 if self._gradients else 64)):
            with torch.set_grad_enabled(self._gradients):
                goal = objective.rows(which)
                parts.append(self._attack(model, pixels[which], goal, random_state))
        moved, before, after, calls = zip(*parts, strict=True)
        values = (torch.cat(part).cpu().numpy().astype(np.float32) for part in (before, after))
        return AttackedImages(torch.cat(moved), pixels, *values, max(calls))


@dataclasses.dataclass(frozen=True)
class PGD(_Attack):
    """Projected gradient ascent: step uphill, come back into the ball, keep the best point met.

    ``x <- project(x + step * sign(gradient))`` in L-inf, with the gradient's unit vector in L2. The unchanged image
    is among the points met, so that the objective never falls; the step does not depend on `steps`, so that more of
    them never find less.

    Attributes
    ----------
    epsilon : float
        Bound, in pixels of [0, 1]; 0 changes no bit.
    norm : {"linf", "l2"}
    steps : int
        Points met after the unchanged image. With a random start the first of them is the start itself: ``steps=1`` is random noise
        then, and ``steps=11`` follows as many gradients as ``steps=10`` from the clean image.
    step : float, optional
        Default: a quarter of `epsilon`.
    start : {"random", "clean"}
        A random point of the ball (drawn from `random_state` and the image, whatever else is in the batch), or the
        image. `Away` from an image's own embedding has no gradient at the image: start at random.
    draws : int
        Gradients averaged at each step, for models that draw random numbers ("expectation over transformation",
        Athalye et al. 2018, arXiv 1707.07397). The objective is averaged as well.

    References
    ----------
    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to adversarial attacks", ICLR
    2018, arXiv 1706.06083. There the last point is kept, not the best.

    Examples
    --------
    >>> torch = require("torch")
    >>> model = lambda pixels: torch.nn.functional.normalize(pixels.mean(dim=(2, 3)))  # mean colour
    >>> red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    >>> from cbirkit.attacks import Towards
    >>> PGD(0.1)(model, red, Towards([[0.0, 1.0, 0.0]])).largest.round(3)
    array([0.1], dtype=float32)
    """

    norm: str = "linf"
    steps: int = 10
    step: float | None = None
    start: str = "random"
    draws: int = 1

    def __post_init__(self):
        super().__post_init__()
        check_count("steps", self.steps, 0)
        check_count("draws", self.draws)
        if self.step is not None:
            check_number("step", self.step, 0, open_low=True)
        check_choice("start", self.start, ("random", "clean"))

    def _attack(self, model, pixels, objective, random_state):
        ball, size = Ball(pixels, self.epsilon, self.norm), self.step or self.epsilon / 4
        before, gradient = value_and_gradient(model, pixels, objective, self.draws)
        best, after, calls = pixels, before, self.draws
        random = self.start == "random"
        at = ball.random(random_state) if random else ball.step(pixels, gradient, size)
        for taken in range(self.steps if self.epsilon else 0):
            value, gradient = value_and_gradient(model, at, objective, self.draws)
            calls += self.draws
            best, after = _better(at, value, best, after)
            if taken + 1 < self.steps:
                at = ball.step(at, gradient, size)
        return best.clone(), before, after, calls


class FGSM(_Attack):
    """The fast gradient sign method: one step of the whole length, from the image itself.

    Attributes
    ----------
    epsilon : float
        L-inf bound.

    Notes
    -----
    Where the step makes the objective smaller, the image is left as it was. `Away` from an image's own embedding has
    no gradient there; use another anchor.

    References
    ----------
    Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015, arXiv 1412.6572.
    """

    def _attack(self, model, pixels, objective, random_state):
        one = PGD(self.epsilon, steps=1, step=self.epsilon or None, start="clean")
        return one._attack(model, pixels, objective, random_state)


@dataclasses.dataclass(frozen=True)
class Universal:
    """One perturbation for all images, learned on some of them and meant for others.

    Attributes
    ----------
    epsilon : float
        L-inf bound.
    epochs : int
        Passes over the images; each batch moves the perturbation by an eighth of `epsilon` along the sign of the mean gradient.

    References
    ----------
    Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, "Universal adversarial perturbations", CVPR 2017, arXiv 1610.08401;
    by stochastic gradients: Shafahi et al. 2020, arXiv 1811.11304. For retrieval: Li et al., ICCV 2019, arXiv 1812.00552.
    """

    epsilon: float = 8 / 255
    epochs: int = 5

    def __post_init__(self):
        check_epsilon(self.epsilon, "linf")
        check_count("epochs", self.epochs)

    def fit(self, model, pixels, objective, *, random_state=0):
        """Learn the perturbation, tensor (1, 3, h, w); add it to other images with `perturbed`.

        Parameters are those of an attack's call, 32 images a batch; all have the size of those to come.
        """
        torch = require("torch")
        _check_images(pixels, objective)
        draw = torch.Generator().manual_seed(int(random_state))
        change = (2 * torch.rand(pixels[:1].shape, generator=draw) - 1).to(pixels) * self.epsilon
        for _ in range(self.epochs if self.epsilon else 0):
            for chosen in torch.randperm(len(pixels), generator=draw).split(32):
                moved, goal = pixels[chosen] + change, objective.rows(chosen)
                slopes = value_and_gradient(lambda at: model(at.clamp(0, 1)), moved, goal)[1]
                change = change + self.epsilon / 8 * slopes.sum(dim=0, keepdim=True).sign()
                change = change.clamp(-self.epsilon, self.epsilon)
        return change


def perturbed(pixels, change, epsilon):
    """Add one perturbation (1, 3, h, w) to all images, within the bound and [0, 1].

    Examples
    --------
    >>> torch = require("torch")
    >>> perturbed(torch.full((1, 3, 1, 1), 0.95), torch.full((1, 3, 1, 1), 0.1), 0.1).max()
    tensor(1.)
    """
    check_pixels(pixels)
    if tuple(change.shape[1:]) != tuple(pixels.shape[1:]):
        raise ValueError(
            f"the perturbation is for images of {tuple(change.shape[2:])} pixels, got {tuple(pixels.shape[2:])}"
        )
    return Ball(pixels, epsilon, "linf").project(pixels + change)


def value_and_gradient(model, pixels, objective, draws=1):
    """Objective (n,) and its gradient (n, 3, h, w), averaged over `draws` runs of the model."""
    torch = require("torch")
    values, gradients = 0, 0
    for _ in range(draws):
        at = pixels.detach().clone().requires_grad_(True)
        value = objective(model(at))
        (gradient,) = torch.autograd.grad(value.sum(), at)
        values, gradients = values + value.detach() / draws, gradients + gradient / draws
    return values, gradients


@dataclasses.dataclass(frozen=True)
class Square(_Attack):
    """Square attack: random squares of +-epsilon, kept where the objective rises. It asks for scores only.

    Attributes
    ----------
    epsilon : float
        L-inf bound.
    steps : int
        Proposals; the model is asked once more for the image and once for the start. The first squares cover 30 % of the image; their
        area halves on the paper's schedule, scaled to `steps`.

    References
    ----------
    Andriushchenko, Croce, Flammarion and Hein, "Square attack: a query-efficient black-box adversarial attack via random
    search", ECCV 2020, arXiv 1912.00049.
    """

    _gradients = False
    steps: int = 300

    def __post_init__(self):
        super().__post_init__()
        check_count("steps", self.steps, 0)

    def _attack(self, model, pixels, objective, random_state):
        torch = require("torch")
        before = objective(model(pixels))
        ball = Ball(pixels, self.epsilon, "linf")
        draws = [np.random.default_rng(seed) for seed in seeds_of(pixels, random_state)]
        stripes = np.stack([draw.choice((-1, 1), (3, 1, pixels.shape[3])) for draw in draws])
        best = ball.project(pixels + self.epsilon * torch.from_numpy(stripes).to(pixels))
        after = objective(model(best))
        best, after = _better(best, after, pixels, before)
        for taken in range(self.steps):
            images = zip(best, pixels, draws, strict=True)
            proposed = ball.project(torch.stack([self._changed(*one, taken) for one in images]))
            best, after = _better(proposed, objective(model(proposed)), best, after)
        return best, before, after, self.steps + 2

    def _changed(self, best, clean, draw, taken):
        """One image with one more square: the clean image +-epsilon inside it, a sign for each channel."""
        height, width = clean.shape[1:]
        halved = sum(taken * 10_000 >= at * self.steps for at in _HALVINGS)
        side = round((0.3 / 2**halved * height * width) ** 0.5)
        side = int(np.clip(side, 1, min(height, width)))
        top, left = (int(draw.integers(0, room + 1)) for room in (height - side, width - side))
        window = np.s_[:, top : top + side, left : left + side]
        signs = require("torch").from_numpy(draw.choice((-1.0, 1.0), (3, 1, 1))).to(clean)
        changed = best.clone()
        changed[window] = clean[window] + self.epsilon * signs
        return changed


class Noise(_Attack):
    """The control: a random perturbation as large as allowed, without looking at the model.

    Random signs times epsilon. The objective may fall.
    """

    _gradients = False

    def _attack(self, model, pixels, objective, random_state):
        signs = (noise_of(pixels, random_state) - 0.5).sign()
        moved = Ball(pixels, self.epsilon, "linf").project(pixels + self.epsilon * signs)
        return moved, objective(model(pixels)), objective(model(moved)), 2


def _better(new, value, old, old_value):
    """Of two versions of each image, the one with the higher objective, and that objective."""
    higher = value > old_value
    return new.where(higher.view(-1, 1, 1, 1), old), value.where(higher, old_value)
