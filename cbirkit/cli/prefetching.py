"""``cbirkit prefetch``: get weights and data sets while online."""

import os
from pathlib import Path

from .._atomic import expanded
from .say import printable

# No network, no room, no such name, no torch; RuntimeError is what torchvision raises for damaged files.
_FAILURES = (ImportError, OSError, RuntimeError, TypeError, ValueError)
_PHOTOS = [
    "clothing",
    "flowers",
    "ucmerced",
]  # what the name "photos" stands for: free for everybody
_MOST_LISTED = 30  # files of weights


def prefetch(arguments, printer):
    """Get everything that is named, or list what can be had.

    Parameters
    ----------
    arguments : argparse.Namespace
        names, list, root, quiet.
    printer : cbirkit.cli.say.Printer

    Returns
    -------
    int
        0 if all is here, 1 if something could not be got; the rest was got all the same.
    """
    from ..datasets.fetch import data_root, fetchable

    root = data_root(arguments.root)
    listed = fetchable(root)
    if arguments.list:
        _list(listed, root, printer)
    if not arguments.names:
        return 0
    several = [(_PHOTOS if name == "photos" else [name]) for name in arguments.names]
    wanted = list(dict.fromkeys(name for names in several for name in names))
    _note_disk(listed, [name for name in wanted if name in listed.index], root, printer)
    failed = []
    for name in wanted:
        try:
            told = (
                _get_data(name, listed, root, printer)
                if name in listed.index
                else _get_weights(name, listed)
            )
            printer.result(f"{printable(name)}: {told}")
        except _FAILURES as error:
            if os.environ.get("CBIRKIT_TRACEBACK"):
                raise
            failed.append(name)
            printer.error(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
    if failed:
        printer.error(f"{len(failed)} of {len(wanted)} could not be got: {', '.join(failed)}")
    return 1 if failed else 0


def _get_data(name, listed, root, printer):
    from ..datasets.fetch import fetch_by_name

    here = bool(listed.loc[name, "here"])
    if not here:
        printer.note(
            f"{name}: {listed.loc[name, 'title']}, terms: {listed.loc[name, 'terms']} ({listed.loc[name, 'page']})"
        )
    images = fetch_by_name(name, root=root, progress=not printer.quiet)
    count = len(images) if hasattr(images, "ids") else len(images.database)
    folder = Path(listed.loc[name, "folder"])
    return f"{'already' if here else 'now'} here, {count:,} images, {_megabytes(_size(folder))} in {printable(folder)}"


def _get_weights(name, listed):
    """Build the network once, which brings its official weights into the cache."""
    from ..nets import backbones

    try:
        backbone = backbones.build(name, "default", random_state=0)
    except ValueError as error:
        raise ValueError(
            f"it is no data set ({', '.join(listed.index)}), and as a backbone: {error}"
        ) from error
    return f"weights here ({printable(backbone.identity)})"


def _note_disk(listed, names, root, printer):
    """Say beforehand if all of it together does not fit."""
    from ..datasets.fetch import free_bytes

    missing = listed.loc[[name for name in names if not listed.loc[name, "here"]]]
    need, free = (
        1e6 * (missing["megabytes"] + missing["unpacked_megabytes"]).sum(),
        free_bytes(root),
    )
    if need > free:
        printer.note(
            f"all of it needs up to {_megabytes(need)}, and {_megabytes(free)} are free in {root}"
        )


def _list(listed, root, printer):
    from ..datasets.fetch import free_bytes

    printer.result(f"data sets, kept in {printable(root)} ({_megabytes(free_bytes(root))} free)")
    printer.result(f"  {'name':<18}{'images':>8}{'download':>12}{'on disk':>12}  here  what it is")
    for name, row in listed.iterrows():
        here, folder = ("yes", Path(row["folder"])) if row["here"] else ("-", None)
        on_disk = (
            _megabytes(_size(folder)) if folder else _megabytes(1e6 * row["unpacked_megabytes"])
        )
        printer.result(
            f"  {name:<18}{_number(row['n_images']):>8}{_megabytes(1e6 * row['megabytes']):>12}{on_disk:>12}  {here:<5} {row['title']}"
        )
    folder = weights_folder()
    files = (
        sorted(p for p in folder.glob("*") if p.suffix in (".pth", ".pt", ".safetensors"))
        if folder.is_dir()
        else []
    )
    printer.result(
        f"\nweights, kept in {printable(folder)} ({_megabytes(free_bytes(folder))} free)"
    )
    for path in files[:_MOST_LISTED]:
        printer.result(f"  {printable(path.name):<50}{_megabytes(path.stat().st_size):>12}")
    if len(files) > _MOST_LISTED:
        printer.result(f"  and {len(files) - _MOST_LISTED} more")
    if not files:
        printer.result(
            "  none yet; name a backbone of encoders.Deep to get its weights: resnet50, vit_b_16, timm/NAME …"
        )


def weights_folder():
    """Where torch keeps weights that it downloads; known without importing torch.

    Returns
    -------
    pathlib.Path
    """
    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch"
    )
    return expanded(home) / "hub" / "checkpoints"


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _number(value):
    return f"{value:,}" if value else "-"


def _megabytes(n_bytes):
    if n_bytes >= 1e10:
        return f"{n_bytes / 1e9:,.1f} GB"
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:,.0f} kB"
