"""A download on its way: the unfinished file, and the two ways in which an attempt fails."""

import json
import socket

from ..._atomic import plain_errors, write_bytes

SECONDS = 30.0  # without a byte
BLOCK = 2**18


class Gone(Exception):
    """This address will not give the file; its text says why."""


class Interrupted(Exception):
    """The connection failed; another attempt may go on.

    Parameters
    ----------
    reason : str
    wait : float
        Seconds that the server asks for.
    weight : int
        Attempts that it counts for.
    """

    def __init__(self, reason, wait=0.0, weight=1):
        super().__init__(reason)
        self.wait, self.weight = wait, weight


def notes_file(part):
    """Where it is kept which file an unfinished download is of."""
    return part.with_name(part.name + ".json")


def read_notes(part):
    """What is known of an unfinished download: address, validator, size; {} where nothing is."""
    try:
        notes = json.loads(notes_file(part).read_text("utf-8"))
        return notes if isinstance(notes, dict) else {}
    except (OSError, ValueError):
        return {}


def size_of(part):
    return part.stat().st_size if part.exists() else 0


class Part:
    """The unfinished file: where it ends, what it is a part of, and how bytes are added."""

    def __init__(self, path, url, limit, bar):
        self.path, self.url, self.limit, self.bar = path, url, limit, bar
        self.notes = read_notes(path)
        self.total, self.resumed = None, False

    def offset(self, trusting):
        """Where to go on: the size of the file, or 0 where what is there may be a part of something else."""
        if trusting or (self.notes.get("url") == self.url and self.notes.get("validator")):
            return size_of(self.path)
        return 0

    def open(self, offset, total, validator):
        """The file, opened to write from `offset` on; `total` bytes are announced (or None)."""
        if total is not None and total > self.limit:
            raise Gone(
                f"would send {total / 1e6:,.0f} MB, and no more than {self.limit / 1e6:,.0f} MB are expected"
            )
        if total == 0:
            raise Gone("the file is empty there")
        self.total, self.resumed = total, offset > 0
        with plain_errors(self.path):
            if offset == 0:
                self.path.unlink(missing_ok=True)
                notes = {"url": self.url, "validator": validator, "total": total}
                write_bytes(notes_file(self.path), json.dumps(notes).encode())
            file = open(self.path, "ab")  # noqa: SIM115  closed by its user
        self.bar.reset(total=total)
        self.bar.update(offset)
        return file

    def add(self, file, block):
        with plain_errors(self.path):
            file.write(block)
        self.bar.update(len(block))
        if file.tell() > self.limit:
            raise Gone(f"sends more than the {self.limit / 1e6:,.0f} MB that are expected")

    def finish(self):
        size = size_of(self.path)
        if self.total is not None and size < self.total:
            raise Interrupted(f"the connection ended after {size:,} of {self.total:,} bytes")
        if size == 0:
            raise Gone("the file is empty there")
        if self.total is not None and size > self.total:
            self.path.unlink()
            raise Interrupted(f"{size:,} bytes came where {self.total:,} were announced")


def reason_of(error):
    error = getattr(error, "reason", error)
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:g} s"
    if isinstance(error, socket.gaierror):
        return "there is no such host, or no connection to the internet"
    return " ".join(str(error).split()) or type(error).__name__


def weight_of(error):
    """Failures that a second attempt hardly mends count for more."""
    return (
        3
        if isinstance(getattr(error, "reason", error), socket.gaierror | ConnectionRefusedError)
        else 1
    )
