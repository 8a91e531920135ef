"""Write an index to a folder so that a kill or a full disk never costs the one saved before; read it with checks.

A folder holds ``index.json`` and payload files named after their contents. New payloads are written beside the old
ones; replacing ``index.json``, one atomic step, makes them valid; only then are the old ones deleted. One process may
write to a folder at a time.
"""

import hashlib
import json
import logging
import os
import re
import secrets
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

DESCRIPTION = "index.json"
FORMAT = "cbirkit index"
VERSION = 1
_PAYLOAD = re.compile(r"[a-z]+-[0-9a-f]{16}\.(npy|faiss|ann)")
_PART = re.compile(r"\.[0-9a-f]{16}\.part")


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file):
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data):
        self.sha256.update(data)
        return self.file.write(data)


def write_folder(folder, description, payloads):
    """Write an index, replacing the one saved there before in one step.

    Parameters
    ----------
    folder : path-like
        New, empty, or holding an index saved before.
    description : dict
        JSON-able: class, params, state.
    payloads : dict of str to (ndarray or (str, bytes-like or callable))
        Arrays become npy files; else a suffix with the bytes, or with a function that writes a file at a path.

    Raises
    ------
    ValueError
        The folder holds other files.
    OSError
        Nothing could be written (full disk, read-only); the index saved there before is untouched.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_where(folder, lambda name: _PART.fullmatch(name))
        files = {name: _write_payload(folder, name, payload) for name, payload in payloads.items()}
        body = {"format": FORMAT, "version": VERSION, **description, "payloads": files}
        text = json.dumps({**body, "sha256": _digest(body)}, indent=1).encode()
        _write_part(folder, DESCRIPTION, lambda file: file.write(text))
        _sync_folder(folder)
    except OSError as error:
        _clean_up(folder)
        reason = error.strerror or str(error)
        raise OSError(
            error.errno,
            f"the index was not saved to {folder}: {reason}; make room or choose another folder "
            "(an index saved there before is untouched)",
        ) from error
    _clean_up(folder)


def _refuse_foreign(folder):
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; save the index to a folder")
    names = os.listdir(folder) if folder.exists() else []
    if DESCRIPTION in names:
        try:
            read_description(folder)
        except ValueError as error:
            raise ValueError(
                f"the index was not saved over what {folder} holds: {error}, or delete it"
            ) from error
    elif any(not _PAYLOAD.fullmatch(name) and not _PART.fullmatch(name) for name in names):
        raise ValueError(f"{folder} holds files that are not an index; save to a new or empty folder")


def _write_payload(folder, name, payload):
    """Write one payload under a name that ends in its hash; return its entry in the description."""
    suffix, content = ("npy", payload) if isinstance(payload, np.ndarray) else payload
    if isinstance(content, np.ndarray) and suffix == "npy":
        return _write_part(
            folder, (name, suffix), lambda f: np.lib.format.write_array(f, content, allow_pickle=False)
        )
    if callable(content):
        return _write_part(folder, (name, suffix), content, by_path=True)
    return _write_part(folder, (name, suffix), lambda file: file.write(content))


def _write_part(folder, name, write, by_path=False):
    part = folder / f".{secrets.token_hex(8)}.part"
    try:
        if by_path:
            write(str(part))
            sha256 = hash_file(part)
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
        else:
            with open(part, "xb") as file:
                hashed = _Hashed(file)
                write(hashed)
                file.flush()
                os.fsync(file.fileno())
            sha256 = hashed.sha256.hexdigest()
        final = name if isinstance(name, str) else f"{name[0]}-{sha256[:16]}.{name[1]}"
        size = part.stat().st_size
        if final == DESCRIPTION or not _holds(folder / final, size, sha256):
            os.replace(part, folder / final)
        return {"file": final, "bytes": size, "sha256": sha256}
    finally:
        part.unlink(missing_ok=True)


def _holds(path, size, sha256):
    return path.is_file() and path.stat().st_size == size and hash_file(path) == sha256


def _sync_folder(folder):
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clean_up(folder):
    """Delete payloads that the description does not name."""
    try:
        named = {entry["file"] for entry in read_description(folder)["payloads"].values()}
    except FileNotFoundError:
        named = set()
    except (ValueError, OSError) as error:
        logger.warning("%s was not cleaned up: %s", folder, error)
        return
    _remove_where(folder, lambda name: _PAYLOAD.fullmatch(name) and name not in named)


def _remove_where(folder, doomed):
    for name in os.listdir(folder) if folder.is_dir() else []:
        if doomed(name):
            try:
                os.unlink(folder / name)
            except OSError as error:  # on Windows, a file that another index has mapped
                logger.debug("%s was not deleted: %s", folder / name, error)


def hash_file(path):
    """Return the SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(body):
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def read_description(folder):
    """Read and check ``index.json``.

    Raises
    ------
    FileNotFoundError
        There is no index in the folder.
    ValueError
        The description is damaged, foreign or of a later format.
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(
            f"no index is saved in {folder} (no {DESCRIPTION} there); save one with index.save"
        )
    try:
        body = json.loads(path.read_bytes())
    except ValueError as error:  # also UnicodeDecodeError
        raise ValueError(f"{path} is damaged ({error}); index the images again or restore a copy") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by cbirkit's indexes; choose a folder that holds a saved index"
        )
    if body.get("version") != VERSION:
        raise ValueError(
            f"{path} has format version {body.get('version')!r}, this cbirkit reads version {VERSION}; update cbirkit"
        )
    if body.pop("sha256", None) != _digest(body):
        raise ValueError(
            f"{path} is damaged (its checksum differs); index the images again or restore a copy"
        )
    if not _is_whole(body):
        raise ValueError(f"{path} is not a description of an index; index the images again or restore a copy")
    return body


def _is_whole(body):
    dicts = [body.get(name) for name in ("params", "state", "payloads")]
    if not isinstance(body.get("class"), str) or not all(isinstance(part, dict) for part in dicts):
        return False
    kinds = {"file": str, "bytes": int, "sha256": str}
    return all(
        isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in kinds.items())
        for entry in body["payloads"].values()
    )


def check_payloads(folder, body):
    """Check names, sizes and checksums of the payloads; return ``{name: Path}``.

    Raises
    ------
    FileNotFoundError
        A payload is missing.
    ValueError
        A payload is damaged or its name is not one of ours.
    """
    paths = {}
    for name, entry in body["payloads"].items():
        if not _PAYLOAD.fullmatch(entry["file"]):
            raise ValueError(
                f"{folder}/{DESCRIPTION} names the file {entry['file']!r}, which no index would write"
            )
        path = Path(folder) / entry["file"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; index the images again or restore a copy")
        size = path.stat().st_size
        if size != entry["bytes"] or hash_file(path) != entry["sha256"]:
            raise ValueError(
                f"{path} is damaged ({size} bytes, {entry['bytes']} were written, or its checksum differs); "
                "index the images again or restore a copy"
            )
        paths[name] = path
    return paths
