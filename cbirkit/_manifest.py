"""The manifest of a folder that ``_atomic`` writes: its kind, and the size and SHA-256 of every file and of the manifest itself.

Checksums find damage, not malice. Where a file is for a parser that malice can crash, the manifest also carries a seal, made with a key
that lies in the configuration of the user: only what this user saved on this machine has it.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from pathlib import Path, PureWindowsPath

MANIFEST = "manifest.json"
_FORMAT = 1


def describe(file):
    """What the manifest says of a file that is open for reading, at its beginning."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": file.seek(0, 2)}


def encode(kind, files, *, about=None, sealed=False):
    """The manifest as bytes; `files` maps relative posix paths to what `describe` says of them, `about` holds further plain values."""
    manifest = {"format": _FORMAT, "kind": kind, "files": files} | (
        {"about": about} if about else {}
    )
    digest = _digest(manifest)
    seal = seal_of(digest) if sealed else None
    return json.dumps(
        {**manifest, "sha256": digest} | ({"seal": seal} if seal else {}), indent=1
    ).encode()


def read(path):
    """The manifest at `path` as a dict, checked against its own checksum; its ``sealed`` says whether this user wrote it here.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is damaged, foreign or of a later format.
    """
    try:
        text = plain_file(path.parent, path.name).read_bytes()
        try:
            manifest = json.loads(text)
        except ValueError:
            raise ValueError("it is no JSON") from None
        if manifest["format"] != _FORMAT:
            raise ValueError(
                f"it has the format {manifest['format']!r}, this cbirkit reads format {_FORMAT} (update cbirkit?)"
            )
        digest, seal = manifest.pop("sha256"), manifest.pop("seal", None)
        if digest != _digest(manifest):
            raise ValueError("its checksum differs")
        manifest["sealed"] = seal is not None and hmac.compare_digest(seal, seal_of(digest) or "")
        _ = (
            manifest["kind"],
            [(entry["bytes"], entry["sha256"]) for entry in manifest["files"].values()],
        )
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ValueError(f"{str(path)!r} is damaged or foreign ({reason_of(error)})") from error
    return manifest


def _digest(manifest):
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def seal_of(digest):
    """What only this user can write under a manifest; None where no key can be kept."""
    path = (
        Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))
        / "cbirkit"
        / "key"
    )
    with contextlib.suppress(OSError):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # nobody else may read it
                file.write(secrets.token_bytes(32))
                file.flush()
                os.link(file.name, path)  # fails where another process was first
    with contextlib.suppress(OSError):
        key = path.read_bytes()
        return hmac.new(key, digest.encode(), "sha256").hexdigest() if len(key) == 32 else None
    return None


def plain_file(folder, name):
    """Path of the file called `name` in a saved folder, or a ``ValueError``: names that lead out of it, links and devices are refused."""
    parts = name.split("/")
    if {"", ".", ".."} & {*parts} or "\\" in name or "\0" in name or PureWindowsPath(name).anchor:
        raise ValueError(f"it names the file {name!r}, which is not in its folder")
    path = Path(folder)
    for part in parts:
        path = path / part
        if stat.S_ISLNK(path.lstat().st_mode):
            raise ValueError(f"{str(path)!r} is a link, which no saved folder holds")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{str(path)!r} is a folder or a device, not a file")
    return path


def read_array(path, *, mmap=False):
    """The array in an npy file, which is no longer than the file: a header is not believed before memory is asked for."""
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="r")
    return (
        np.asarray(array) if mmap else np.array(array)
    )  # without the class memmap, whose every slice takes longer


def reason_of(error):
    """An error in a few words, without the numbers and paths of the system."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def verify(folder, name, expected, what):
    """Raise ``ValueError`` if a file of a folder is missing or not as `describe` said; `what` names what is saved, for the message."""
    try:
        path = plain_file(folder, name)
        size = path.stat().st_size
        if size == expected["bytes"]:  # hashing takes time
            with open(path, "rb") as file:
                if describe(file) == expected:
                    return
    except FileNotFoundError:
        raise ValueError(
            f"{str(folder / name)!r} is missing; restore it or save the {what} again"
        ) from None
    except OSError as error:
        raise ValueError(f"{str(folder / name)!r} cannot be read ({reason_of(error)})") from error
    differs = (
        "checksum" if size == expected["bytes"] else f"size ({size} bytes, not {expected['bytes']})"
    )
    raise ValueError(
        f"{str(path)!r} is damaged: its {differs} differs from the manifest's; save the {what} again"
    )
