"""Unpack zip and tar files that are not trusted."""

import bz2
import contextlib
import gzip
import logging
import lzma
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..._atomic import plain_errors
from .disk import check_free

log = logging.getLogger(__name__)

_BLOCK = 2**20
_MOST_FILES = 2_000_000
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_DAMAGE = (
    EOFError, OSError, RuntimeError, NotImplementedError, ValueError, struct.error, zlib.error, lzma.LZMAError,
    tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip


class UnsafeArchive(ValueError):
    """An archive that would write outside its folder, or more than photographs can pack into it."""


class DamagedArchive(ValueError):
    """An archive that ends early, is damaged, or is none."""


@dataclass(frozen=True)
class _Member:
    name: str  # relative, with "/"
    size: int
    reader: object  # () -> binary file


def unpack(archive, folder, *, place=None, progress=True, most_bytes=None):
    """Unpack a zip file or a tar file (also compressed) below a folder.

    Names that lead out of the folder, links that point out of it, devices, encrypted files, and archives that
    grow to more than `most_bytes` are refused. Links are never made: those that stay inside are left out.
    Owners and permissions are not taken over.

    Parameters
    ----------
    archive : path-like
        Told by its contents, not its name.
    folder : path-like
        Made if need be. Give a new one, and rename it when all is done: a failure leaves a part of the files.
    place : callable, optional
        ``place(name)`` gives the path below `folder` for a member, or None to leave it out. Default: its
        name.
    progress : bool, default=True
    most_bytes : int, optional
        Default: 4 times the size of the archive and 64 MB: photographs hardly compress.

    Returns
    -------
    int
        How many files were written.

    Raises
    ------
    UnsafeArchive, DamagedArchive
    OSError
        The disk is full, no permission.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with zipfile.ZipFile(folder / "a.zip", "w") as file:
    ...     file.writestr("in/a.txt", "one")
    >>> unpack(folder / "a.zip", folder / "out", progress=False)
    1
    """
    archive, folder = Path(archive), Path(folder)
    size, n_files = archive.stat().st_size, 0
    budget = _Budget(4 * size + 2**26 if most_bytes is None else most_bytes, archive.name)
    bar = tqdm(
        total=size, desc=f"unpack {archive.name}", unit="B", unit_scale=True, disable=not progress
    )
    with open(archive, "rb") as raw, bar:
        is_zip = raw.read(2) == b"PK"
        raw.seek(0)
        members = _zip_members(raw, folder, budget) if is_zip else _tar_members(raw, budget)
        while (member := _next(members, archive.name)) is not None:
            target = member.name if place is None else place(member.name)
            if target is not None:
                _write(member, folder / safe_name(target, archive.name), archive.name, budget)
                n_files += 1
            bar.update(max(raw.tell() - bar.n, 0))
        bar.update(size - bar.n)  # what is left of the archive names no file
    return n_files


def safe_name(name, archive):
    """A member's name as a clean relative path with ``/``; `UnsafeArchive` if it leads out of the folder.

    Examples
    --------
    >>> safe_name("./a//b.jpg", "x.tar")
    'a/b.jpg'
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if (
        plain.startswith("/")
        or re.match("[A-Za-z]:", plain)
        or ".." in parts
        or "\0" in plain
        or not parts
    ):
        raise UnsafeArchive(
            f"{archive} holds the name {name!r}, which leads out of its folder; it is not unpacked, do not trust it"
        )
    return "/".join(parts)


class _Budget:
    """How many bytes may still come out of an archive."""

    def __init__(self, most, archive):
        self.most, self.archive, self.spent, self.files = most, archive, 0, 0

    def spend(self, n_bytes):
        self.spent += n_bytes
        if self.spent > self.most:
            raise UnsafeArchive(
                f"{self.archive} unpacks to more than {self.most / 1e6:,.0f} MB, "
                "which is not what it should hold; it is not unpacked"
            )

    def count(self):
        self.files += 1
        if self.files > _MOST_FILES:
            raise UnsafeArchive(
                f"{self.archive} holds more than {_MOST_FILES:,} files; it is not unpacked"
            )


@contextlib.contextmanager
def _undamaged(archive):
    """Whatever a reader raises for damaged bytes becomes a `DamagedArchive`."""
    try:
        yield
    except (UnsafeArchive, DamagedArchive):
        raise
    except _DAMAGE as error:
        if getattr(error, "errno", None):  # of the disk
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedArchive(
            f"{archive} is damaged, cut short, or no archive ({reason})"
        ) from error


def _next(members, archive):
    with _undamaged(archive):
        return next(members, None)


def _write(member, path, archive, budget):
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = open(path, "wb")  # noqa: SIM115  closed below
    written = 0
    with target:
        with _undamaged(archive):
            source = member.reader()
        while True:
            with _undamaged(archive):
                block = source.read(_BLOCK)
            if not block:
                break
            budget.spend(len(block))
            with plain_errors(path):
                target.write(block)
            written += len(block)
    if written != member.size:
        raise DamagedArchive(
            f"{archive} is damaged or cut short ({member.name} has {written:,} of {member.size:,} bytes)"
        )


# ---------------------------------------------------------------------- zip


def _zip_members(raw, folder, budget):
    with zipfile.ZipFile(raw) as file:
        infos = file.infolist()
        total = sum(info.file_size for info in infos)
        if total > budget.most:
            budget.spend(total)
        check_free(folder, total, f"unpacking {budget.archive}")
        for info in infos:
            budget.count()
            if info.is_dir():
                continue
            name = safe_name(info.filename, budget.archive)
            if stat.S_ISLNK(info.external_attr >> 16):
                if info.file_size > 4096:
                    raise UnsafeArchive(
                        f"{budget.archive} holds a strange link ({name}); it is not unpacked"
                    )
                _check_link(name, file.read(info).decode("utf-8", "replace"), budget.archive)
                continue
            yield _Member(name, info.file_size, lambda info=info: file.open(info))


# ---------------------------------------------------------------------- tar


class _Counted:
    """A compressed file that says how much came out of it, and ends it where that is too much."""

    def __init__(self, file, budget):
        self.file, self.budget, self.read_so_far = file, budget, 0

    def read(self, n_bytes=-1):
        allowed = 2 * self.budget.most + 2**20 - self.read_so_far  # headers count too
        if n_bytes < 0 or n_bytes > allowed:
            self.budget.spend(self.budget.most + 1)
        block = self.file.read(n_bytes)
        self.read_so_far += len(block)
        return block


class _Header(tarfile.TarInfo):
    """A header that is not read into memory where it claims to be huge."""

    def _proc_member(self, tar):
        if self.type in _LONG_HEADERS and self.size > 2**20:
            raise UnsafeArchive(
                f"an archive has a header of {self.size:,} bytes; it is not unpacked"
            )
        return super()._proc_member(tar)


def _tar_members(raw, budget):
    opener = _COMPRESSED.get(raw.read(2))
    raw.seek(0)
    stream = _Counted(raw if opener is None else opener(raw), budget)
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as file:
        for info in file:
            budget.count()
            if info.isdir():
                continue
            name = safe_name(info.name, budget.archive)
            if info.issym() or info.islnk():
                _check_link(name if info.issym() else "", info.linkname, budget.archive)
                continue
            if not info.isreg():
                raise UnsafeArchive(
                    f"{budget.archive} holds {name!r}, which is neither file nor folder; it is not unpacked"
                )
            yield _Member(name, info.size, lambda info=info: file.extractfile(info))
    while stream.read(_BLOCK):  # to the end, where the checksum of the compressed stream is
        pass


def _check_link(name, target, archive):
    """Refuse a link that points out of the folder; hard links are relative to the top, so have no `name`."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.replace("\\", "/")))
    if path == "." or path.startswith(("/", "..")) or re.match("[A-Za-z]:", path):
        raise UnsafeArchive(
            f"{archive} holds a link out of its folder ({name or 'hard link'} -> {target}); it is not unpacked"
        )
    log.info("%s: the link %s is left out", archive, name or target)
