"""Checkpoints of a training run: tensors as safetensors, numbers as JSON, in one folder that is replaced in one step."""

import hashlib
import json
import time
from pathlib import Path

from .._atomic import recover, verify_manifest, write_folder
from .._optional import require

KIND = "training"
_BUSY = 10  # writing may take at most the tenth part of the time


class Checkpoints:
    """Where a run is kept.

    Parameters
    ----------
    folder : path-like or None
        None: nowhere.
    seconds : float
        Least time between two saves.
    """

    def __init__(self, folder, seconds):
        self.folder = None if folder is None else Path(folder)
        self._seconds = seconds
        self._wait = seconds
        self._last = time.monotonic()

    @property
    def due(self):
        """Whether it is time to save."""
        return self.folder is not None and time.monotonic() - self._last >= self._wait

    def save(self, numbers, tensors):
        """Replace what was saved.

        Parameters
        ----------
        numbers : JSON values
            NaN among them is written as Python's ``json`` does.
        tensors : dict of name to torch tensor
        """
        if self.folder is None:
            return
        start = time.monotonic()
        save_file = require("safetensors.torch").save_file
        own = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
        }
        with write_folder(self.folder, kind=KIND) as partial:
            save_file(own, str(partial / "tensors.safetensors"))
            (partial / "numbers.json").write_text(json.dumps(numbers), "utf-8")
        self._last = time.monotonic()
        self._wait = max(self._seconds, _BUSY * (self._last - start)) if self._seconds else 0.0

    def load(self):
        """What was saved last, (numbers, tensors), or None if there is nothing yet.

        Raises
        ------
        ValueError
            The folder holds something else, or is damaged.
        """
        if self.folder is None:
            return None
        recover(self.folder)
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return None
        verify_manifest(self.folder, kind=KIND)
        numbers = json.loads((self.folder / "numbers.json").read_text("utf-8"))
        return numbers, require("safetensors.torch").load_file(
            str(self.folder / "tensors.safetensors")
        )


def check_same_run(folder, saved, now):
    """Refuse to go on with a run that was started with other settings.

    Parameters
    ----------
    folder : path
    saved, now : dict
        Descriptions of the saved run and of the present one.

    Raises
    ------
    ValueError
        They differ; the message names the first difference.
    """
    now = json.loads(json.dumps(now))  # tuples become lists, as in what was saved
    for name in sorted({*saved, *now}):
        if saved.get(name) != now.get(name):
            differs = (
                ""
                if len(repr(saved.get(name))) > 80
                else f" (was {saved.get(name)!r}, is {now.get(name)!r})"
            )
            raise ValueError(
                f"the run saved in {str(folder)!r} had another {name}{differs}; "
                "go on with the same settings, or give a new folder to checkpoint="
            )


def digest(state):
    """Hex SHA-256 of the tensors of a state dict."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.flatten().view(require("torch").uint8).numpy().data)
    return total.hexdigest()
