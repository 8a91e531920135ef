"""Saved files as a stranger would write them."""

import zipfile


def forge(path, kind, *, tree="1", frame=None, arrays=b"", compression=zipfile.ZIP_STORED):
    """Write a save of `kind` with any ``state.json``, frame and bytes of arrays."""
    if frame is None:
        frame = f'{{"format":2,"kind":"{kind}","about":{{}}}}'
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(zipfile.ZipInfo(f"cbirkit {kind}.json"), frame)
        archive.writestr("arrays", arrays)
        archive.writestr("state.json", tree)
    return path


def parts(path):
    """Bytes of each part of a save, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
