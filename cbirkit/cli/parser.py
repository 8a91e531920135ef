"""The commands of ``cbirkit`` and their options."""

import argparse
import difflib
import re
from importlib import import_module

from .choices import ENCODERS, INDEXES, check_encoder, default_encoder

_EXIT = "exit codes: 0 done, 1 failed (standard error says why), 2 wrong usage, 130 interrupted"
_ENCODERS = "".join(f"  {name:<12}{words}\n" for name, (_, _, words) in ENCODERS.items())


_FIRST = """first steps:
  cbirkit doctor                   is everything installed?
  cbirkit report photos            what is in the folder photos
  cbirkit search photos one.jpg    what looks like one.jpg"""


class _Parser(argparse.ArgumentParser):
    """One whose errors name the choice that was probably meant."""

    def error(self, message):
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = (
            difflib.get_close_matches(wrong[1], re.findall(r"[\w+-]+", wrong[2]), n=1)
            if wrong
            else []
        )
        super().error(f"{message}; did you mean {near[0]}?" if near else message)


def parse(argv=None):
    """The arguments as a namespace; wrong usage is told with the usage of the command at hand, and ends with code 2."""
    arguments, unknown = build_parser().parse_known_args(argv)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def build_parser():
    parser = _Parser(
        prog="cbirkit",
        description="Search a folder of images by what they look like.",
        epilog=f"{_FIRST}\n\n{_EXIT}\nCBIRKIT_TRACEBACK=1 in the environment shows where a failure arose.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_doctor(commands)
    _add_prefetch(commands)
    _add_index(commands)
    _add_search(commands)
    _add_explore(commands)
    _add_report(commands)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        from .. import __version__

        print(f"cbirkit {__version__}")
        parser.exit()


def _command(commands, name, *, summary, examples, run, resumes=False):
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}\n\n{_EXIT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no notes and no progress bars, only results"
    )
    parser.set_defaults(run=run, parser=parser, resumes=resumes)
    return parser


def _later(module, name):
    """A command's work, whose module is loaded when it is run, so that help comes at once."""

    def run(arguments, printer):
        getattr(import_module(module, __package__), name)(arguments, printer)
        return 0

    return run


def _add_doctor(commands):
    def run(arguments, printer):
        from .doctor import examine

        return examine(printer)

    _command(
        commands,
        "doctor",
        summary="check the set-up: versions, cores, memory, GPU, disk, and how to install what is missing",
        examples="  cbirkit doctor\n  cbirkit doctor --quiet    only what is wrong",
        run=run,
    )


def _add_prefetch(commands):
    def run(arguments, printer):
        from .prefetching import prefetch

        if not arguments.names and not arguments.list:
            parser.error("name what to get, or give --list")
        return prefetch(arguments, printer)

    parser = _command(
        commands,
        "prefetch",
        summary="get weights of networks and standard data sets while online, for a class that will not be",
        examples="  cbirkit prefetch --list                 what can be had, how large it is, what is here already\n"
        "  cbirkit prefetch resnet50 flowers102    weights of a backbone, and a data set\n"
        "  cbirkit prefetch photos                 three sets of photographs that are free to use, 740 MB\n"
        "  cbirkit prefetch sop --root /mnt/large\n\n"
        "A download that breaks is continued by the same command. What cannot be got is said, with what to\n"
        "download by hand and where to put it; the rest is got all the same.",
        run=run,
        resumes=True,
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="a data set (see --list) or a backbone of encoders.Deep",
    )
    parser.add_argument(
        "--list", action="store_true", help="list data sets and weights, and which are here"
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="where data sets are kept (default: CBIRKIT_DATA, else ~/.cache/cbirkit)",
    )


def _add_index(commands):
    parser = _command(
        commands,
        "index",
        summary="encode the images of a folder and keep the result, so that searches are quick",
        examples="  cbirkit index photos\n  cbirkit index photos --encoder vlad\n"
        "  cbirkit index /mnt/read-only --out ~/photos.cbirkit\n\n"
        "Run it again after images came or went: only new ones are encoded. A run that was killed goes on\n"
        f"where it stopped.\n\nencoders:\n{_ENCODERS}"
        "Any network of torchvision, or of timm as timm/NAME, is one too: cbirkit prefetch resnet50 gets its weights,\n"
        "and with --encoder resnet50 it works offline from then on.",
        run=_later(".indexing", "index_folder"),
        resumes=True,
    )
    _add_folder(parser)
    _add_encoder(parser)


def _add_search(commands):
    parser = _command(
        commands,
        "search",
        summary="find the images of a folder that look most like a given one",
        examples="  cbirkit search photos holiday/beach.jpg\n  cbirkit search photos ~/new.png -k 5 --json\n"
        "  cbirkit search photos ~/new.png --html found.html\n\n"
        "IMAGE is a file anywhere, or the name of one in FOLDER; one of the folder does not find itself.\n"
        "A folder without an index is indexed first.",
        run=_later(".searching", "search_folder"),
        resumes=True,
    )
    _add_folder(parser)
    parser.add_argument("image", metavar="IMAGE", help="the image to search for")
    parser.add_argument(
        "-k", type=_count, default=10, metavar="N", help="how many to find (default 10)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument(
        "--html", metavar="FILE", help="also write a page with the images, all in one file"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let faiss and Annoy read index files that you did not write on this machine (default: built anew)",
    )
    _add_encoder(parser)


def _add_explore(commands):
    parser = _command(
        commands,
        "explore",
        summary="write a notebook that explores a folder by clicking, and open it in JupyterLab",
        examples="  cbirkit explore photos\n  cbirkit explore photos --no-open\n"
        "  cbirkit explore photos --notebook ~/course/mine.ipynb",
        run=_later(".lab", "explore_folder"),
    )
    _add_folder(parser)
    parser.add_argument("--no-open", action="store_true", help="only write the notebook")
    parser.add_argument(
        "--notebook",
        metavar="FILE",
        help="where to write it (default: ./explore_FOLDER.ipynb); one that exists is kept",
    )
    _add_encoder(parser)


def _add_report(commands):
    parser = _command(
        commands,
        "report",
        summary="look at a folder of images before anything else: sizes, classes, copies, outliers, broken files",
        examples="  cbirkit report photos\n  cbirkit report photos --html ~/photos.html --encoder color\n\n"
        "The page is one file that needs no server and loads nothing. It holds small copies of some images.",
        run=_later(".report", "report_folder"),
    )
    _add_folder(parser)
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="where to write (default: ./report_FOLDER.html); one that exists is replaced",
    )
    _add_encoder(parser, index=False)


def _add_folder(parser):
    parser.add_argument(
        "folder", metavar="FOLDER", help="a folder of images, searched with its sub-folders"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="where the index is kept (default: FOLDER/.cbirkit)"
    )
    parser.add_argument(
        "--labels", metavar="FILE",
        help="CSV file, in FOLDER or elsewhere, that names images and their labels; FILE:COLUMN if it does not call them label or "
        "class (default: as before, or sub-folders)",
    )  # fmt: skip


def _add_encoder(parser, *, index=True):
    parser.add_argument(
        "--encoder", type=_encoder, metavar="NAME",
        help=f"what describes an image: {', '.join(ENCODERS)}, a network of torchvision, or timm/NAME "
        f"(default: as before, or {default_encoder()})",
    )  # fmt: skip
    if not index:
        return
    parser.add_argument(
        "--index", choices=list(INDEXES), metavar="NAME",
        help=f"how neighbours are found: {', '.join(INDEXES)} (default: as before, or exact)",
    )  # fmt: skip


def _encoder(text):
    try:
        check_encoder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _count(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return value
