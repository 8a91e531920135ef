"""Attacks that use gradients: FGSM and PGD, and one perturbation for all images."""

import dataclasses

from .._optional import require
from .bounds import Ball
from .pixels import check_epsilon, check_pixels, check_steps
from .result import in_batches


@dataclasses.dataclass(frozen=True)
class PGD:
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

    epsilon: float = 8 / 255
    norm: str = "linf"
    steps: int = 10
    step: float | None = None
    start: str = "random"
    draws: int = 1

    def __post_init__(self):
        check_epsilon(self.epsilon, self.norm)
        check_steps("steps", self.steps)
        check_steps("draws", self.draws, 1)
        if self.step is not None and not 0 < self.step < float("inf"):
            raise ValueError(
                f"step must be a number above 0, got {self.step!r}; leave it out for epsilon / 4"
            )
        if self.start not in ("random", "clean"):
            raise ValueError(f'start must be "random" or "clean", got {self.start!r}')

    def __call__(self, model, pixels, objective, *, random_state=0, batch_size=32):
        """Attack images.

        Parameters
        ----------
        model : callable
            Pixels (n, 3, h, w) in [0, 1] to embeddings (n, d) of length 1, differentiable; see `attackable`.
        pixels : tensor (n, 3, h, w), float32 in [0, 1]
        objective : Away, Towards or Misrank
        random_state : int
        batch_size : int

        Returns
        -------
        Attacked

        Raises
        ------
        ValueError
            Pixels that are none, or an objective for another number of images.
        """
        check_pixels(pixels)

        def attack(chunk, goal):
            return self._climb(model, chunk, goal, random_state)

        return in_batches(attack, pixels, objective, batch_size)

    def _climb(self, model, pixels, objective, random_state):
        ball, size = Ball(pixels, self.epsilon, self.norm), self.step or self.epsilon / 4
        before, gradient = value_and_gradient(model, pixels, objective, self.draws)
        best, after, calls = pixels, before, self.draws
        if self.start == "random":
            at = ball.random(random_state)
        elif self.steps:
            at = ball.step(pixels, gradient, size)
        for taken in range(self.steps if self.epsilon else 0):
            value, gradient = value_and_gradient(model, at, objective, self.draws)
            calls += self.draws
            better = value > after
            best = at.where(better.view(-1, 1, 1, 1), best)
            after = value.where(better, after)
            if taken + 1 < self.steps:
                at = ball.step(at, gradient, size)
        return best.clone(), before, after, calls


@dataclasses.dataclass(frozen=True)
class FGSM:
    """The fast gradient sign method: one step of the whole length, from the image itself.

    Attributes
    ----------
    epsilon : float
    norm : {"linf", "l2"}
        In L2, along the gradient itself.

    Notes
    -----
    Where the step makes the objective smaller, the image is left as it was. `Away` from an image's own embedding has
    no gradient there; use another anchor.

    References
    ----------
    Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015, arXiv 1412.6572.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"

    def __post_init__(self):
        check_epsilon(self.epsilon, self.norm)

    def __call__(self, model, pixels, objective, *, random_state=0, batch_size=32):
        """Attack images; parameters as of `PGD`, `random_state` is not used."""
        one = PGD(self.epsilon, self.norm, steps=1, step=self.epsilon or None, start="clean")
        return one(model, pixels, objective, batch_size=batch_size)


@dataclasses.dataclass(frozen=True)
class Universal:
    """One perturbation for all images, learned on some of them and meant for others.

    Attributes
    ----------
    epsilon : float
        L-inf bound.
    epochs : int
        Passes over the images; each batch moves the perturbation by `step` along the sign of the mean gradient.
    step : float, optional
        Default: an eighth of `epsilon`.

    References
    ----------
    Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, "Universal adversarial perturbations", CVPR 2017, arXiv 1610.08401;
    by stochastic gradients: Shafahi et al. 2020, arXiv 1811.11304. For retrieval: Li et al., ICCV 2019, arXiv 1812.00552.
    """

    epsilon: float = 8 / 255
    epochs: int = 5
    step: float | None = None

    def __post_init__(self):
        check_epsilon(self.epsilon, "linf")
        check_steps("epochs", self.epochs, 1)

    def fit(self, model, pixels, objective, *, random_state=0, batch_size=32):
        """Learn the perturbation, tensor (1, 3, h, w); add it to other images with `perturbed`.

        Parameters are those of `PGD`'s call; all images have the size of those to come.
        """
        torch = require("torch")
        check_pixels(pixels)
        draw = torch.Generator().manual_seed(int(random_state))
        change = (2 * torch.rand(pixels[:1].shape, generator=draw) - 1).to(pixels) * self.epsilon
        size = self.step or self.epsilon / 8
        for _ in range(self.epochs if self.epsilon else 0):
            for chosen in torch.randperm(len(pixels), generator=draw).split(batch_size):
                at = change.clone().requires_grad_(True)
                goal = objective.rows(chosen) if len(objective) == len(pixels) else objective
                value = goal(model((pixels[chosen] + at).clamp(0, 1))).mean()
                (gradient,) = torch.autograd.grad(value, at)
                change = (change + size * gradient.sign()).clamp(-self.epsilon, self.epsilon)
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
