"""How to train: the settings of the loop."""

import dataclasses
import numbers
from collections.abc import Callable, Mapping

from .schedules import check_schedule


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of `train`; pass one, or its fields as keywords.

    Attributes
    ----------
    learning_rate : float or dict
        Peak rate. A dict maps beginnings of parameter names to rates, ``{"backbone": 1e-4, "head": 1e-2}``:
        the longest that fits counts, ``""`` fits all. Parameters that ask for no gradient are left alone.
    weight_decay : float
        Of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).
    optimiser : callable, optional
        ``optimiser(network)`` gives a torch optimiser, instead of AdamW; the rates of its groups are the peak
        rates.
    schedule : {"one_cycle", "cosine", "constant"} or callable
        How the rate goes (see `cbirkit.learning.rate_factor`), or ``schedule(step, n_steps)`` that gives a
        factor of the peak rate.
    steps : int, optional
        Stop after so many steps, in the middle of an epoch if need be.
    patience : int, optional
        Stop after so many epochs without a better validation score.
    clip_norm : float, optional
        Scale the gradient down to this length where it is longer.
    batch_norm : {"update", "frozen"}
        "update": layers of batch normalisation use the statistics of the batch and go on averaging them.
        "frozen": they use, and keep, the averages they have; their weights still learn. Layers whose own
        weights are frozen keep theirs in any case.
    precision : {"float32", "bfloat16"}
        "bfloat16" computes the forward pass and the loss under autocast.
    device : str
        "auto" is the first there is of cuda, mps and cpu.
    random_state : int, RandomState or None
        Seeds the random numbers of torch, numpy and Python while training lasts; afterwards they are what
        they were.
    save_seconds : float
        A checkpoint is written when so much time has passed since the last, and at the end.
    progress : bool
        Show a curve and a bar in a notebook; log a line an epoch elsewhere.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> Options(learning_rate=2e-3, patience=5).schedule
    'one_cycle'
    """

    learning_rate: float | Mapping = 1e-3
    weight_decay: float = 0.01
    optimiser: Callable | None = None
    schedule: str | Callable = "one_cycle"
    steps: int | None = None
    patience: int | None = None
    clip_norm: float | None = None
    batch_norm: str = "update"
    precision: str = "float32"
    device: str = "auto"
    random_state: object = 0
    save_seconds: float = 30.0
    progress: bool = True

    def __post_init__(self):
        self._check_rates()
        _check_number("weight_decay", self.weight_decay, low=0, such_as="0.01")
        _check_number("save_seconds", self.save_seconds, low=0, such_as="30")
        if self.clip_norm is not None:
            _check_number("clip_norm", self.clip_norm, above=0, such_as="1.0")
        check_schedule(self.schedule)
        for name in ("steps", "patience"):
            check_whole(name, getattr(self, name), optional=True)
        for name, choices in (
            ("batch_norm", ("update", "frozen")),
            ("precision", ("float32", "bfloat16")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {choices}, got {getattr(self, name)!r}; pass one of these"
                )
        if self.optimiser is not None and not callable(self.optimiser):
            raise TypeError(
                f"optimiser must be a function of the network, got a {type(self.optimiser).__name__}; "
                "write optimiser=lambda network: torch.optim.SGD(network.parameters(), lr=0.1)"
            )

    def _check_rates(self):
        rates = (
            self.learning_rate.values()
            if isinstance(self.learning_rate, Mapping)
            else [self.learning_rate]
        )
        for rate in rates:
            _check_number("learning_rate", rate, above=0, such_as="1e-3")
        if not rates:
            raise ValueError(
                'learning_rate is an empty dict; give a rate for each beginning of a name, {"": 1e-3} for all'
            )


def changed(options, changes, kind=Options):
    """`options` (None: the defaults of `kind`) with some fields changed; TypeError names an unknown one."""
    options = kind() if options is None else options
    if not isinstance(options, kind):
        raise TypeError(
            f"options must be a {kind.__name__}, got {type(options).__name__}; make one with learning.{kind.__name__}()"
        )
    known = [field.name for field in dataclasses.fields(options)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise TypeError(f"unknown setting {unknown[0]!r}; there are {', '.join(known)}")
    return dataclasses.replace(options, **changes)


def check_whole(name, value, *, optional=False):
    """Refuse what is not a whole number of 1 or more."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"{name} must be a whole number of 1 or more, got {value!r}; pass {name}=10, say"
        )


def _check_number(name, value, *, low=None, above=None, such_as):
    good = isinstance(value, numbers.Real) and not isinstance(value, bool) and value < float("inf")
    if (
        not good
        or (low is not None and not value >= low)
        or (above is not None and not value > above)
    ):
        bound = f">= {low}" if above is None else f"> {above}"
        raise ValueError(
            f"{name} must be a number {bound}, got {value!r}; pass {name}={such_as}, say"
        )
