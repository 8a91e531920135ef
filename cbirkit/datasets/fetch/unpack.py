"""Unpack zip and tar files that are not trusted."""

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

from tqdm.auto import tqdm

from cbirkit._atomic import plain_errors, reason_of

from .disk import check_free

_MOST_FILES = 2_000_000
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


class BadArchive(ValueError):
    """An archive that would write outside its folder, or more than photographs can pack into it, ends early, or is none."""


def unpack(archive, folder, *, place=str, progress=True):
    """Unpack a zip file or a tar file (also compressed) below a folder.

    Names that lead out of the folder, links of tar files that point out of it, devices, encrypted files, and
    archives that grow to more than 4 times their size and 64 MB (photographs hardly compress) are refused. Links are
    never made. Owners and permissions are not taken over.

    Parameters
    ----------
    archive : path-like
        Told by its contents, not its name.
    folder : path-like
        Made if need be. Give a new one, and rename it when all is done: a failure leaves a part of the files.
    place : callable, optional
        ``place(name)`` gives the path below `folder` for a member, or None to leave it out. Default: its name.
    progress : bool, default=True

    Raises
    ------
    BadArchive
    OSError
        The disk is full, no permission.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with zipfile.ZipFile(folder / "a.zip", "w") as file:
    ...     file.writestr("in/a.txt", "one")
    >>> unpack(folder / "a.zip", folder / "out", progress=False)
    >>> (folder / "out" / "in" / "a.txt").read_text()
    'one'
    """
    archive, folder = Path(archive), Path(folder)
    size = archive.stat().st_size
    budget = _Budget(archive.name, 4 * size + 2**26)
    label = f"unpack {archive.name}"
    bar = tqdm(total=size, desc=label, unit="B", unit_scale=True, disable=not progress)
    with plain_errors(folder), open(archive, "rb") as raw, bar:

        def target(name, position):
            bar.update(max(position - bar.n, 0))
            name = place(safe_name(name, archive.name))
            return None if name is None else safe_name(name, archive.name)

        is_zip = raw.read(2) == b"PK"
        raw.seek(0)
        try:
            (_unpack_zip if is_zip else _unpack_tar)(raw, folder, target, budget)
        except BadArchive:
            raise
        except Exception as error:  # damaged bytes make a reader raise whatever it likes
            if isinstance(error, MemoryError) or getattr(error, "errno", None):  # not its fault
                raise
            raise BadArchive(
                f"{archive.name} is damaged, cut short, hostile, or no archive ({reason_of(error)})"
            ) from error
        bar.update(size - bar.n)  # what is left of the archive names no file


def safe_name(name, archive):
    """A member's name as a clean relative path with ``/``; `BadArchive` if it leads out of the folder.

    Examples
    --------
    >>> safe_name("./a//b.jpg", "x.tar")
    'a/b.jpg'
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if re.match("/|[A-Za-z]:", plain) or ".." in parts or "\0" in plain or not parts:
        raise BadArchive(
            f"{archive} holds the name {name!r}, which leads out of its folder; it is not unpacked, do not trust it"
        )
    return "/".join(parts)


class _Budget:
    """How many bytes and files may still come out of an archive.

    Read through it, a tar file is refused where it holds much that belongs to no member: huge headers, zeros at its
    end.
    """

    def __init__(self, archive, most):
        self.archive, self.most = archive, most
        self.spent = self.files = self.n_read = 0
        self.file = None

    def spend(self, n_bytes):
        self.spent += n_bytes
        self.files += 1
        if self.spent > self.most or self.files > _MOST_FILES:
            raise BadArchive(
                f"{self.archive} unpacks to more than {self.most / 1e6:,.0f} MB or {_MOST_FILES:,} files, "
                "which is not what it should hold; it is not unpacked"
            )

    def read(self, n_bytes):
        block = self.file.read(n_bytes)
        self.n_read += len(block)
        if self.n_read > self.spent + 4096 * self.files + 2**24:
            self.spend(self.most + 1)
        return block


def _unpack_zip(raw, folder, target, budget):
    with zipfile.ZipFile(raw) as file:
        for info in file.infolist():
            budget.spend(info.file_size)  # a member is cut off at the size that it states
        check_free(folder, budget.spent, f"unpacking {budget.archive}")
        for info in file.infolist():
            left_out = info.is_dir() or stat.S_ISLNK(info.external_attr >> 16)
            if left_out or not (name := target(info.filename, info.header_offset)):
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with file.open(info) as source, open(path, "wb") as copy:
                shutil.copyfileobj(source, copy)


def _unpack_tar(raw, folder, target, budget):
    def checked(member, _):
        budget.spend(member.size)
        if member.isdir() or not (name := target(member.name, raw.tell())):
            return None
        member = tarfile.data_filter(member, folder)
        if member.issym() or member.islnk():
            return None
        return member.replace(name=name, mode=None, mtime=None, deep=False)

    opener = _COMPRESSED.get(raw.read(2))
    raw.seek(0)
    budget.file = raw if opener is None else opener(raw)
    with tarfile.open(fileobj=budget, mode="r|") as file:
        file.extractall(folder, filter=checked)
    while budget.read(2**20):  # to the end, where the checksum of the compressed stream is
        pass
