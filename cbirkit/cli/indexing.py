"""``cbirkit index``: encode the images of a folder and keep what a search needs."""

import errno
import os
import time

from .._atomic import write_bytes
from .choices import (
    checked_folder,
    choose,
    claim,
    labels_file,
    make_index,
    out_folder,
    prepared_encoder,
    save_anew,
)
from .say import Failure, counted, printable

_MOST_NAMED = 20  # broken files named on the terminal; all are in problems.csv
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def index_folder(arguments, printer, images=None, names=None):
    """Encode what is new in the folder, build the index and keep both.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, out, encoder, index, quiet.
    printer : cbirkit.cli.say.Printer
    images : ImageCollection, optional
        Those of the folder, where they were listed already.
    names : tuple of str, optional
        Encoder and index, where they were chosen already.

    Returns
    -------
    Retriever

    Raises
    ------
    Failure
        There is no such folder, no image in it that can be read, or the index cannot be written.
    """
    images = checked_folder(arguments) if images is None else images
    out = out_folder(arguments)
    encoder, index = names = choose(arguments, out, printer) if names is None else names
    started = time.monotonic()
    try:
        claim(out)
        retriever, new = _fitted(names, images, out, arguments, printer)
        about = {
            "encoder": encoder,
            "index": index,
            "labels": labels_file(arguments),
        }  # in the same step: it is never said of another index
        save_anew(lambda folder: retriever.save(folder, about=about), out / "retriever")
        text = retriever.problems.map(_as_cell).to_csv(index=False)
        write_bytes(out / "problems.csv", text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise cannot_write(out, error) from error
    _name_problems(retriever.problems, out, printer)
    printer.note(
        f"indexed {counted(len(retriever.ids), 'image')} of {arguments.folder} ({new:,} encoded now) in "
        f"{time.monotonic() - started:.1f} s with encoder {encoder} and index {index}; kept in {out}"
    )
    return retriever


def _fitted(names, images, out, arguments, printer):
    """A fitted Retriever, and how many images had to be encoded for it."""
    from ..retrieval import Retriever
    from ..store import EmbeddingStore

    store = EmbeddingStore(out / "store")
    encoder = prepared_encoder(names[0], images, out, printer)
    retriever = Retriever(
        encoder, make_index(names[1]), store=store, progress=not arguments.quiet
    ).fit(images)
    return retriever, min(store.n_encoded, len(retriever.ids))


def _as_cell(text):
    """Text in one line that no spreadsheet takes for a formula."""
    return f"'{printable(text)}" if str(text).startswith(("=", "+", "-", "@")) else printable(text)


def _name_problems(problems, out, printer):
    if len(problems):
        printer.note(
            f"{counted(len(problems), 'file')} cannot be used, or found by nothing in the picture:"
        )
    for row in problems.head(_MOST_NAMED).itertuples(index=False):
        printer.note(f"  {row.name}: {row.reason}")
    if len(problems) > _MOST_NAMED:
        printer.note(f"  and {len(problems) - _MOST_NAMED} more, named in {out / 'problems.csv'}")


def cannot_write(out, error):
    """A Failure for what kept the index from being written."""
    if error.errno in _NOT_WRITABLE:
        reason = os.strerror(error.errno)
        return Failure(f"cannot write in {out} ({reason}); keep the index elsewhere with --out DIR")
    if error.errno == errno.ENOSPC:
        return Failure(
            f"the disk of {out} is full; what was done is kept: make room and run it again, or use --out DIR"
        )
    return Failure(str(error))
