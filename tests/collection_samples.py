"""A folder as strangers have them: copies, near-copies, broken files, names that are no plain words."""

import numpy as np
from explore_samples import HOSTILE, jpeg
from PIL import Image

NAMED = "<img src=x onerror=alert(1)>.jpg"


def picture(seed, width=40, height=30):
    """Coarse random grey, so that its hash has something to hold on to."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 9), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)).convert("RGB"))


def write_photos(root):
    """30 pictures of three classes: a copy under another label, a larger near-copy, two broken files, hostile names."""
    for i in range(30):
        path = root / ("cat", "dog", HOSTILE)[i % 3] / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(i, 40 + i % 2 * 20)).save(path)
    (root / "dog" / "same.png").write_bytes((root / "cat" / "00.png").read_bytes())
    Image.fromarray(picture(1, 160, 120)).save(root / "dog" / "larger.png")
    (root / "cat" / NAMED).write_bytes(jpeg()[:200])
    (root / "cat" / "nothing.jpg").write_bytes(b"")
    return root


def rows_for(images):
    """Embeddings close together but for one."""
    rows = np.random.default_rng(0).normal(size=(len(images), 8)) * 0.05 + np.eye(8)[0]
    rows[images.positions(["dog/10.png"])[0]] = -np.eye(8)[0]
    return rows
