"""Files that ship with the kit in `data/`: small weights, embeddings and results."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "data"


def shipped_file(name):
    """Path of a file in the kit's `data/`, whatever folder a notebook runs in.

    Parameters
    ----------
    name : str
        As in `data/README.md`, which says how each was made: "fine_tune_real.csv".

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        There is no such file; or the package was installed without the repository, which holds `data/`.

    Examples
    --------
    >>> shipped_file("tiny.safetensors").name
    'tiny.safetensors'
    """
    path = FOLDER / name
    if path.is_file():
        return path
    if not FOLDER.is_dir():
        raise FileNotFoundError(
            f"{name} ships with the repository, not with the package: install from a clone (pip install -e .)"
        )
    there = ", ".join(sorted(p.name for p in FOLDER.iterdir() if p.is_file() and p.suffix != ".md"))
    raise FileNotFoundError(f"no file {name!r} ships with the kit; there are {there}")
