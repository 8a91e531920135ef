"""What the command line prints: results on standard output, notes and errors on standard error."""

import re
import sys
import unicodedata


class Failure(Exception):
    """Something that the person at the terminal can mend; its text is one sentence that says how."""


def printable(value):
    """Text that cannot steer a terminal: control, direction and broken characters become escapes.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> printable("red" + chr(27) + "[31m.jpg")
    'red\\\\x1b[31m.jpg'
    """
    return "".join(_escaped(c) if unicodedata.category(c)[0] == "C" else c for c in str(value))


def _escaped(character):
    number = ord(character)
    return (
        f"\\x{number:02x}"
        if number < 256
        else f"\\u{number:04x}"
        if number < 65536
        else f"\\U{number:08x}"
    )


def counted(number, one, more=None):
    """A number with its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class", "classes")
    ('1 image', '1,200 images', '2 classes')
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def file_name(folder):
    """The name of a folder as a part of a file name.

    Examples
    --------
    >>> from pathlib import PurePosixPath
    >>> file_name(PurePosixPath("/home/me/My photos (new)"))
    'My_photos_new_'
    """
    name = re.sub(r"[^\w.-]+", "_", folder.name).encode()[
        :120
    ]  # names of files have 255 bytes at most
    return name.decode(errors="ignore") or "folder"


class Printer:
    """Prints results, and notes unless quiet.

    Parameters
    ----------
    quiet : bool
    """

    def __init__(self, *, quiet=False):
        self.quiet = quiet

    def result(self, text=""):
        """A line on standard output."""
        print(text, file=sys.stdout)

    def note(self, text):
        """A line on standard error, unless quiet."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    def error(self, text):
        """Why it failed, on standard error."""
        print(f"cbirkit: {printable(text)}", file=sys.stderr, flush=True)
