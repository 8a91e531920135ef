"""Where torch computes, and how exactly."""

import contextlib

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device="auto"):
    """The torch device of a name; "auto" is the first there is of cuda, mps and cpu.

    Raises
    ------
    ValueError
        There is no such device here.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if isinstance(device, str) and device == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    try:
        picked = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(
            f'device must be "auto", "cuda", "mps" or "cpu", got {device!r}; "auto" picks what there is'
        ) from None
    if not there.get(picked.type, True):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise ValueError(f'device={device!r} is not there (found: {found}); use device="auto"')
    return picked


def mixed_precision(device, precision):
    """Context in which a network computes as `precision` says: "float32" as it is, else autocast.

    Raises
    ------
    ValueError
        float16 on a device other than cuda.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    if precision == "float16" and device.type != "cuda":
        raise ValueError(
            f'precision="float16" needs a cuda device, got {device.type}; use "bfloat16" or "float32"'
        )
    return torch.autocast(device.type, PRECISIONS[precision])
