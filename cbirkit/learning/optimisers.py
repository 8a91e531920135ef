"""The optimiser of a run: its groups of parameters, and its state as tensors and numbers."""

from collections.abc import Mapping

from .._optional import require


def build_optimiser(network, options):
    """The optimiser that the options ask for, over the parameters that learn.

    Raises
    ------
    ValueError
        Nothing learns, or a parameter has no rate.
    """
    torch = require("torch")
    if options.optimiser is not None:
        optimiser = options.optimiser(network)
        if not isinstance(optimiser, torch.optim.Optimizer):
            raise TypeError(
                f"optimiser(network) gave a {type(optimiser).__name__}; let it return a torch optimiser"
            )
        return optimiser
    groups = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_rate(name, options.learning_rate), []).append(parameter)
    if not groups:
        raise ValueError(
            "no weight of the network learns: all are frozen (requires_grad is False); unfreeze a layer"
        )
    groups = [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
    return torch.optim.AdamW(groups, weight_decay=options.weight_decay)


def _rate(name, rates):
    if not isinstance(rates, Mapping):
        return float(rates)
    fits = [
        start
        for start in rates
        if name == start or start == "" or name.startswith(start.rstrip(".") + ".")
    ]
    if not fits:
        raise ValueError(
            f'learning_rate has no entry for the parameter {name!r}, only {", ".join(map(repr, rates))}; add one, or "" for all others'
        )
    return float(rates[max(fits, key=len)])


def describe_optimiser(optimiser, rates):
    """JSON values that tell one optimiser from another."""
    groups = []
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        plain = {
            name: value
            for name, value in group.items()
            if isinstance(value, bool | int | float | str | tuple | None)
        }
        groups.append(plain | {"lr": rate, "initial_lr": None, "params": len(group["params"])})
    return {"class": type(optimiser).__name__, "groups": groups}


def optimiser_state(optimiser):
    """Its state as a dict of tensors (keys start with ``optimiser.``) and a dict of numbers."""
    torch = require("torch")
    tensors, numbers = {}, {}
    for number, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            key = f"{number}.{name}"
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser.{key}"] = value
            else:
                numbers[key] = value
    return tensors, numbers


def set_optimiser_state(optimiser, tensors, numbers):
    """Put back what `optimiser_state` gave (the tensors' keys without ``optimiser.``)."""
    state = {}
    for key, value in {**tensors, **numbers}.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
