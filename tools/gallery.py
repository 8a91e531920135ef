"""The README's pictures: taken from the notebooks' own outputs, of the cells tagged ``gallery``."""

import base64

from cbirkit._atomic import write_bytes


def pictures(built, stem):
    """Pictures (name, PNG bytes) of the tagged cells of a built notebook, in order."""
    tagged = (c for c in built.cells if "gallery" in c.metadata.get("tags", []))
    found = (output["data"]["image/png"] for cell in tagged for output in cell.outputs if "image/png" in output.get("data", {}))
    return [(f"{stem}_{n}.png", base64.b64decode(png)) for n, png in enumerate(found, start=1)]


def refresh(built, stem, root, *, write=True):
    """Bring ``docs/images`` up to date with one notebook; return True if it was so before."""
    same = True
    for name, png in pictures(built, stem):
        path = root / "docs" / "images" / name
        if not path.exists() or path.read_bytes() != png:
            same = False
            if write:
                write_bytes(path, png)
    return same
