"""``cbirkit index``: encode the images of a folder and keep what a search needs."""

import errno
import json
import time

from .choices import checked_folder, choose, make_index, out_folder, prepared_encoder
from .say import Failure

_MOST_NAMED = 20  # broken files named on the terminal; all are in problems.csv
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def index_folder(arguments, printer, images=None):
    """Encode what is new in the folder, build the index and keep both.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, out, encoder, index, quiet.
    printer : cbirkit.cli.say.Printer
    images : ImageCollection, optional
        Those of the folder, where they were listed already.

    Returns
    -------
    Retriever

    Raises
    ------
    Failure
        There is no such folder, no image in it that can be read, or the index cannot be written.
    """
    images = checked_folder(arguments.folder) if images is None else images
    out = out_folder(arguments)
    names = choose(arguments, out)
    started = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
        retriever, new = _fitted(names, images, out, arguments, printer)
        retriever.save(out / "retriever")
        _keep_settings(out, *names)
        retriever.problems.to_csv(out / "problems.csv", index=False, errors="backslashreplace")
    except OSError as error:
        raise _cannot_write(out, error) from error
    _name_problems(retriever.problems, out, printer)
    printer.note(
        f"indexed {len(retriever.ids):,} images of {arguments.folder} ({new:,} encoded now) in "
        f"{time.monotonic() - started:.1f} s with encoder {names[0]} and index {names[1]}; kept in {out}"
    )
    return retriever


def _fitted(names, images, out, arguments, printer):
    """A fitted Retriever, and how many images had to be encoded for it."""
    from ..retrieval import Retriever
    from ..store import EmbeddingStore

    store = EmbeddingStore(out / "store")
    before = int(store.summary()["n_images"].sum())
    encoder = prepared_encoder(names[0], images, out, printer)
    retriever = Retriever(encoder, make_index(names[1]), store=store, progress=not arguments.quiet).fit(
        images
    )
    return retriever, int(store.summary()["n_images"].sum()) - before


def _keep_settings(out, encoder, index):
    partial = out / "settings.json.partial"
    partial.write_text(json.dumps({"encoder": encoder, "index": index}), "utf-8")
    partial.replace(out / "settings.json")


def _name_problems(problems, out, printer):
    if len(problems):
        printer.note(f"{len(problems)} files cannot be used:")
    for row in problems.head(_MOST_NAMED).itertuples(index=False):
        printer.note(f"  {row.name}: {row.reason}")
    if len(problems) > _MOST_NAMED:
        printer.note(f"  and {len(problems) - _MOST_NAMED} more, named in {out / 'problems.csv'}")


def _cannot_write(out, error):
    """A Failure for what kept the index from being written."""
    if error.errno in _NOT_WRITABLE:
        return Failure(f"cannot write in {out} ({error.strerror}); keep the index elsewhere with --out DIR")
    if error.errno == errno.ENOSPC:
        return Failure(
            f"the disk of {out} is full; what was done is kept: make room and run it again, or use --out DIR"
        )
    return Failure(str(error))
