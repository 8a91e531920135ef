"""The random numbers of torch, numpy and Python while training lasts: seeded, kept, put back."""

import contextlib
import random

import numpy as np

from .._optional import require


def random_states(device):
    """Where all generators stand: a dict with the keys torch, numpy, python and, where there is one, device."""
    torch = require("torch")
    states = {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=True)[1:],
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["device"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["device"] = torch.mps.get_rng_state()
    return states


def set_random_states(states, device):
    """Put all generators where `random_states` found them."""
    torch = require("torch")
    torch.set_rng_state(states["torch"])
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", np.asarray(keys, dtype=np.uint32), *rest))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    if "device" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)
    elif "device" in states and device.type == "mps":
        torch.mps.set_rng_state(states["device"])


def plain_states(states):
    """The same as JSON values and as tensors, two dicts; `set_random_states` takes their union."""
    (keys, *rest), (version, words, gauss) = states["numpy"], states["python"]
    numbers = {"numpy": [np.asarray(keys).tolist(), *rest], "python": [version, list(words), gauss]}
    return numbers, {name: states[name] for name in ("torch", "device") if name in states}


@contextlib.contextmanager
def seeded(seed, device):
    """Seed all generators for the block, and put them back where they were after it."""
    torch = require("torch")
    before = random_states(device)
    torch.manual_seed(seed)  # the devices' generators too
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        set_random_states(before, device)
