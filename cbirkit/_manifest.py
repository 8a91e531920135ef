"""The manifest of a folder that ``_atomic`` writes: its kind, and the size and SHA-256 of every file and of the manifest itself."""

import hashlib
import json

MANIFEST = "manifest.json"
_FORMAT = 1


def describe(file):
    """What the manifest says of a file that is open for reading, at its beginning."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": file.seek(0, 2)}


def encode(kind, files):
    """The manifest as bytes; `files` maps relative posix paths to what `describe` says of them."""
    manifest = {"format": _FORMAT, "kind": kind, "files": files}
    return json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode()


def read(path):
    """The manifest at `path` as a dict, checked against its own checksum.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is damaged, foreign or of a later format.
    """
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != _FORMAT:
            raise ValueError(
                f"it has the format {manifest['format']!r}, this cbirkit reads format {_FORMAT} (update cbirkit?)"
            )
        if manifest.pop("sha256") != _digest(manifest):
            raise ValueError("its checksum differs")
        _ = manifest["kind"], [(entry["bytes"], entry["sha256"]) for entry in manifest["files"].values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is damaged or foreign ({error})") from error
    return manifest


def _digest(manifest):
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def verify(path, expected, what):
    """Raise ``ValueError`` if the file at `path` is missing or not as `describe` said; `what` names what is saved, for the message."""
    try:
        size = path.stat().st_size
        if size == expected["bytes"]:  # hashing takes time
            with open(path, "rb") as file:
                if describe(file) == expected:
                    return
    except FileNotFoundError:
        raise ValueError(f"{str(path)!r} is missing; restore it or save the {what} again") from None
    differs = "checksum" if size == expected["bytes"] else f"size ({size} bytes, not {expected['bytes']})"
    raise ValueError(
        f"{str(path)!r} is damaged: its {differs} differs from the manifest's; save the {what} again"
    )
