"""Saved files as a stranger would write them."""

import zipfile


def forge(path, kind, *, tree="1", about="{}", arrays=b"", compression=zipfile.ZIP_STORED):
    """Write a save of `kind` with any ``state.json``, note and bytes of arrays."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(zipfile.ZipInfo(f"cbirkit 2 {kind}.json"), about)
        archive.writestr("arrays", arrays)
        archive.writestr("state.json", tree)
    return path


def parts(path):
    """Bytes of each part of a save, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
