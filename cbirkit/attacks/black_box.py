"""Attacks without gradients: random squares judged by the score, and random noise as the control."""

import dataclasses

import numpy as np

from .._optional import require
from .bounds import Ball, seeds_of
from .pixels import check_epsilon, check_pixels, check_steps
from .result import in_batches

_HALVINGS = (
    10,
    50,
    200,
    1000,
    2000,
    4000,
    6000,
    8000,
)  # of 10,000 calls, when the squares' area halves


@dataclasses.dataclass(frozen=True)
class Square:
    """Square attack: random squares of +-epsilon, kept where the objective rises. It asks for scores only.

    Attributes
    ----------
    epsilon : float
        L-inf bound.
    steps : int
        Proposals; the model is asked once more for the image and once for the start.
    area : float in (0, 1]
        Share of the image that the first squares cover; it halves on the paper's schedule, scaled to `steps`.

    References
    ----------
    Andriushchenko, Croce, Flammarion and Hein, "Square attack: a query-efficient black-box adversarial attack via random
    search", ECCV 2020, arXiv 1912.00049.
    """

    epsilon: float = 8 / 255
    steps: int = 300
    area: float = 0.3

    def __post_init__(self):
        check_epsilon(self.epsilon, "linf")
        check_steps("steps", self.steps)
        if not 0 < self.area <= 1:
            raise ValueError(f"area must lie in (0, 1], got {self.area!r}; 0.3 is the default")

    def __call__(self, model, pixels, objective, *, random_state=0, batch_size=64):
        """Attack images; parameters as of `PGD`, but the model need not be differentiable (see `queryable`)."""
        check_pixels(pixels)

        def attack(chunk, goal):
            with require("torch").no_grad():
                return self._search(model, chunk, goal, random_state)

        return in_batches(attack, pixels, objective, batch_size)

    def _search(self, model, pixels, objective, random_state):
        torch = require("torch")
        before = objective(model(pixels))
        if not self.epsilon or not self.steps:
            return pixels.clone(), before, before, 1
        ball = Ball(pixels, self.epsilon, "linf")
        draws = [np.random.default_rng(seed) for seed in seeds_of(pixels, random_state)]
        stripes = np.stack([draw.choice((-1, 1), (3, 1, pixels.shape[3])) for draw in draws])
        best = ball.project(pixels + self.epsilon * torch.from_numpy(stripes).to(pixels))
        after = objective(model(best))
        best, after = _better(best, after, pixels, before)
        for taken in range(self.steps):
            proposed = torch.stack(
                [self._changed(*one, taken) for one in zip(best, pixels, draws, strict=True)]
            )
            proposed = ball.project(proposed)
            best, after = _better(proposed, objective(model(proposed)), best, after)
        return best, before, after, self.steps + 2

    def _changed(self, best, clean, draw, taken):
        """One image with one more square: the clean image +-epsilon inside it, a sign for each channel."""
        height, width = clean.shape[1:]
        halved = sum(taken * 10_000 >= at * self.steps for at in _HALVINGS)
        side = round((self.area / 2**halved * height * width) ** 0.5)
        side = int(np.clip(side, 1, min(height, width)))
        top, left = (int(draw.integers(0, room + 1)) for room in (height - side, width - side))
        window = np.s_[:, top : top + side, left : left + side]
        signs = require("torch").from_numpy(draw.choice((-1.0, 1.0), (3, 1, 1))).to(clean)
        changed = best.clone()
        changed[window] = clean[window] + self.epsilon * signs
        return changed


@dataclasses.dataclass(frozen=True)
class Noise:
    """The control: a random perturbation as large as allowed, without looking at the model.

    Random signs times epsilon in L-inf, a random direction in L2. The objective may fall.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"

    def __post_init__(self):
        check_epsilon(self.epsilon, self.norm)

    def __call__(self, model, pixels, objective, *, random_state=0, batch_size=64):
        """Perturb images; parameters as of `PGD`."""
        check_pixels(pixels)

        def attack(chunk, goal):
            with require("torch").no_grad():
                moved = Ball(chunk, self.epsilon, self.norm).corner(random_state)
                return moved, goal(model(chunk)), goal(model(moved)), 2

        return in_batches(attack, pixels, objective, batch_size)


def _better(new, value, old, old_value):
    higher = value > old_value
    return new.where(higher.view(-1, 1, 1, 1), old), value.where(higher, old_value)
