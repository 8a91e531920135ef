"""The command ``cbirkit``: check the set-up, get weights and data; index, search and explore a folder of images."""

import argparse
import difflib
import inspect
import logging
import os
import re
import sys
import warnings

from cbirkit import __version__
from cbirkit._optional import bars

from .choices import ENCODERS, INDEXES, check_encoder, default_encoder, printable
from .lab import explore
from .searching import index, report, search, web
from .setup import doctor, prefetch

__all__ = ["build_parser", "main"]

_HELP = """Search a folder of images by what they look like.

first steps:
  cbirkit doctor                   is everything installed?
  cbirkit report photos            what is in the folder photos
  cbirkit search photos one.jpg    what looks like one.jpg
  cbirkit search photos "red car"  what the words describe

exit codes: 0 done, 1 failed (standard error says why), 2 wrong usage, 130 interrupted
CBIRKIT_TRACEBACK=1 in the environment shows where a failure arose"""
_FOLDER = "folder --out --labels --encoder"
# command, whose docstring is its help: its arguments
_COMMANDS = {
    doctor: "",
    prefetch: "names --list --root",
    index: f"{_FOLDER} --index --workers",
    search: f"{_FOLDER} --index image -k --json --html --trust",
    explore: f"{_FOLDER} --index --no-open --notebook",
    report: f"{_FOLDER} --html",
    web: f"{_FOLDER} --store --precision --runtime",
}
# argument, what stands for its value ("-" for a switch), help
_ARGUMENTS = """
folder      FOLDER  a folder of images, searched with its sub-folders
image       IMAGE   the image to search for, or words that say what is to be seen: "a red car"
names       NAME    a data set (see --list) or a backbone of encoders.Deep
-k          N       how many to find (default 10)
--out       DIR     where the index is kept (default: FOLDER/.cbirkit)
--store     DIR     where the index is kept (default: FOLDER/.cbirkit)
web--out    SITE    where to write the site: a new or an empty folder, or an older site, which is replaced
--precision KIND    of the network in the page: float16 (default), float32, or int8, which is smaller and finds slightly other images
--runtime   DIST    a folder with onnxruntime-web, such as dist of its npm package (default: downloaded once)
--root      DIR     where data sets are kept (default: CBIRKIT_DATA, else ~/.cache/cbirkit)
--html      FILE    where to write a page, all in one file; one that exists is replaced
--notebook  FILE    where to write it (default: ./explore_FOLDER.ipynb); one that exists is kept
--labels    FILE    CSV file, in FOLDER or elsewhere, that names images and their labels; FILE:COLUMN if it does not call them label or class (default: as before, or sub-folders)
--encoder   NAME    what describes an image: {encoders}, a network of torchvision, or timm/NAME (default: as before, or {default})
--index     NAME    how neighbours are found: {indexes} (default: as before, or exact)
--workers   N       processes to encode with, with one thread each; or the address of a Dask cluster: tcp://host:8786 (pip install "cbirkit[scale]")
--quiet     -       no notes and no progress bars, only results
--list      -       list data sets and weights, and which are here
--json      -       print JSON in place of a table
--no-open   -       only write the notebook
--trust     -       let faiss and Annoy read index files that you did not write on this machine (default: built anew)
"""
_log = logging.getLogger(__name__)


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
    # a file name that the terminal cannot show must not end the program
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments, unknown = build_parser().parse_known_args(argv)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    terminal = _Terminal()
    terminal.setLevel(logging.ERROR if arguments.quiet else logging.INFO)
    logging.getLogger("cbirkit").addHandler(terminal)
    _log.setLevel(logging.INFO)
    try:
        with bars(not arguments.quiet), warnings.catch_warnings():
            if arguments.quiet:
                warnings.simplefilter("ignore")
            return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        _log.error("interrupted; what was kept so far is used when the same command is run again")
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if os.environ.get("CBIRKIT_TRACEBACK"):
            raise
        _log.error(_told(error))
        return 1
    finally:
        logging.getLogger("cbirkit").removeHandler(terminal)


def _told(error):
    """What went wrong, in one sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ImportError) and "install" not in text:
        text += "; run `cbirkit doctor`, it tells what is broken and how to mend it"
    # what the package raises for bad input is a sentence already
    if isinstance(error, ImportError | OSError | TypeError | ValueError):
        return text
    where = "CBIRKIT_TRACEBACK=1 in the environment shows where it arose"
    return f"{type(error).__name__}: {text}; {where}"


class _Terminal(logging.StreamHandler):
    """Notes and errors of the commands on standard error, and those warnings that they have no words of their own for."""

    heard = ("cbirkit.cli", "cbirkit.store.damaged", "cbirkit.indexes", "cbirkit.images.tables")

    def filter(self, record):
        return record.name.startswith(self.heard)

    def format(self, record):
        prefix = "cbirkit: " if record.levelno >= logging.ERROR else ""
        return prefix + printable(record.getMessage())


class _Parser(argparse.ArgumentParser):
    """One whose errors name the choice that was probably meant."""

    def error(self, message):
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*?)\)", message)
        known = re.findall(r"[\w+-]+", wrong[2]) if wrong else []
        near = difflib.get_close_matches(wrong[1], known, n=1) if wrong else []
        super().error(f"{message}; did you mean {near[0]}?" if near else message)


def build_parser():
    """The parser of the command line, an `argparse.ArgumentParser`."""
    parser = _parser(_Parser, _HELP, prog="cbirkit")
    parser.add_argument("--version", action="version", version=f"cbirkit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    names = {"encoders": ", ".join(ENCODERS), "indexes": ", ".join(INDEXES)}
    table = _ARGUMENTS.format(default=default_encoder(), **names).strip().splitlines()
    known = {name: rest for name, *rest in (row.split(None, 2) for row in table)}
    special = {
        "names": {"nargs": "*"},
        "-k": {"type": _count, "default": 10},
        "--encoder": {"type": check_encoder},
        "--index": {"choices": list(INDEXES)},
        "--precision": {"choices": ["float16", "float32", "int8"], "default": "float16"},
        "web--out": {"required": True},
        "--workers": {"type": lambda text: text if "://" in text else _count(text)},
    }
    for command, arguments in _COMMANDS.items():
        text = inspect.getdoc(command)
        if "--encoder" in arguments:
            listed = (f"\n  {name:<12}{words}" for name, (words, *_) in ENCODERS.items())
            text += f"\n\nencoders:{''.join(listed)}"
        summary = text.splitlines()[0].rstrip(".")
        text += f"\n\n{_HELP.splitlines()[-2]}"
        one = _parser(commands.add_parser, text, name=command.__name__, help=summary)
        for name in ["--quiet", *arguments.split()]:
            # what one command means by it, or all
            key = next(key for key in (command.__name__ + name, name) if key in known)
            metavar, words = known[key]
            value = {"action": "store_true"} if metavar == "-" else {"metavar": metavar}
            short = ["-q"] if name == "--quiet" else []
            one.add_argument(*short, name, help=words, **value, **special.get(key, {}))
        one.set_defaults(run=command, parser=one)
    return parser


def _parser(make, text, **settings):
    summary, _, more = text.partition("\n\n")
    raw = argparse.RawDescriptionHelpFormatter
    return make(description=summary, epilog=more, formatter_class=raw, **settings)


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
