"""The command ``cbirkit``: check the set-up, get weights and data; index, search and explore a folder of images."""

import contextlib
import logging
import os
import sys
import warnings

from .parser import build_parser, parse
from .say import Failure, Printer

__all__ = ["build_parser", "main"]


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
    except (ImportError, OSError, TypeError, ValueError) as error:  # what the package raises for bad input
        if os.environ.get("CBIRKIT_TRACEBACK"):
            raise
        doctor = isinstance(error, ImportError) and "install" not in str(error)
        hint = "; run `cbirkit doctor`, it tells what is broken and how to mend it" * doctor
        printer.error((" ".join(str(error).split()) or type(error).__name__) + hint)
    return 1


@contextlib.contextmanager
def _silenced():
    """No warnings, and no progress bars in what is imported from now on."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before
