"""The command ``cbirkit``: check the set-up, get weights and data; index, search and explore a folder of images."""

import contextlib
import logging
import os
import sys
import warnings

from .._progress import bars
from .parser import build_parser, parse
from .say import Failure, Printer

__all__ = ["build_parser", "main"]

_TOLD = (
    "cbirkit.store.rows",
    "cbirkit.indexes.saved",
    "cbirkit.images.folders",
    "cbirkit.images.tables",
)  # loggers whose warnings the commands do not say in words of their own


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Default: ``sys.argv[1:]``.

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 130 interrupted. Wrong usage raises ``SystemExit(2)``.
    """
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a file name that the terminal cannot show must not end the program
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = parse(argv)
    printer = Printer(quiet=arguments.quiet)
    log = logging.getLogger("cbirkit")
    if (
        not log.handlers
    ):  # the commands say it in their own words; without a handler Python would print it too
        log.addHandler(logging.NullHandler())
    notes = _Notes(printer)
    for name in _TOLD:
        logging.getLogger(name).addHandler(notes)
    try:
        with _silenced() if arguments.quiet else contextlib.nullcontext():
            return arguments.run(arguments, printer)
    except KeyboardInterrupt:
        kept = "; what was done so far is kept, and the same command goes on from there"
        printer.error("interrupted" + kept * arguments.resumes)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Failure as failure:
        printer.error(str(failure))
    except Exception as error:
        if os.environ.get("CBIRKIT_TRACEBACK"):
            raise
        if not isinstance(
            error, (ImportError, OSError, TypeError, ValueError)
        ):  # not what the package raises for bad input
            error = f"{type(error).__name__}: {error}; CBIRKIT_TRACEBACK=1 in the environment shows where it arose"
        doctor = isinstance(error, ImportError) and "install" not in str(error)
        hint = "; run `cbirkit doctor`, it tells what is broken and how to mend it" * doctor
        printer.error((" ".join(str(error).split()) or type(error).__name__) + hint)
    finally:
        for name in _TOLD:
            logging.getLogger(name).removeHandler(notes)
    return 1


class _Notes(logging.Handler):
    """Prints warnings of the package as notes."""

    def __init__(self, printer):
        super().__init__(logging.WARNING)
        self.printer = printer

    def emit(self, record):
        self.printer.note(record.getMessage())


@contextlib.contextmanager
def _silenced():
    """No warnings and no progress bars."""
    with bars(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
