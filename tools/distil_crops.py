"""Random crops of photographs with a teacher's embedding of each, on disk: what `distil_tiny.py` trains on.

The teacher sees every crop once; the student sees the same crops in every epoch. Interrupted work goes on where it stopped.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from cbirkit._atomic import write_bytes
from cbirkit.images import ImageProblem

_TEACHER_SIDE = 224
_MIXED = 0.25  # share of the crops that are two crops laid over each other
_CHUNK = 32  # images between two entries of the progress file


class Crops:
    """Crops (n_images * n_crops, side, side, 3), uint8, and targets (n_images * n_crops, n_dims), float16, memory-mapped.

    Crop 0 of an image is the whole of it; the others are random boxes of a fifth of its area or more, half of them mirrored,
    a quarter laid over a crop of another image (the teacher says what such a mixture is). Each follows from the seed, the image
    and its number alone.

    Parameters
    ----------
    folder : path-like
    images : ImageCollection
    n_crops : int
    side : int
        Pixels of the student's square input.
    random_state : int
    """

    def __init__(self, folder, images, *, n_crops=8, side=128, random_state=0):
        self.folder, self.images = Path(folder), images
        self.n_crops, self.side, self.seed = n_crops, side, random_state
        self.folder.mkdir(parents=True, exist_ok=True)

    def __len__(self):
        return len(self.images) * self.n_crops

    def make(self, teacher, progress=True):
        """Let `teacher`, an encoder with ``transform(list of images)``, embed every crop; return (pixels, targets, problems)."""
        from tqdm.auto import tqdm

        plan = self._plan(teacher)
        done, problems = self._begin(plan)
        pixels = self._array("pixels.npy", (len(self), self.side, self.side, 3), np.uint8, done)
        targets = None
        for start in tqdm(range(done, len(self.images), _CHUNK), disable=not progress, desc="teacher"):
            stop = min(start + _CHUNK, len(self.images))
            rows, large = [], []
            for position in range(start, stop):
                try:
                    seen, small = zip(*(self._crop(position, number) for number in range(self.n_crops)), strict=True)
                except ImageProblem as problem:
                    problems.append([problem.name, problem.reason])
                    continue
                first = position * self.n_crops
                pixels[first : first + self.n_crops] = small
                rows += range(first, first + self.n_crops)
                large += seen
            if rows:
                embeddings = teacher.transform(large)
                if targets is None:
                    targets = self._array("targets.npy", (len(self), embeddings.shape[1]), np.float16, done)
                targets[rows] = embeddings
                targets.flush()
            pixels.flush()
            write_bytes(self.folder / "progress.json", json.dumps({"plan": plan, "done": stop, "problems": problems}).encode())
        if targets is None:
            targets = np.load(self.folder / "targets.npy", mmap_mode="r", allow_pickle=False)
        return pixels, targets, problems

    def good_rows(self, problems):
        """Rows (int64) of the crops whose image could be read."""
        bad = {name for name, _ in problems}
        good = np.array([name not in bad for name in self.images.ids])
        return np.flatnonzero(np.repeat(good, self.n_crops))

    def _plan(self, teacher):
        what = [repr(teacher), self.n_crops, self.side, self.seed, self.images.ids.tolist()]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def _begin(self, plan):
        try:
            kept = json.loads((self.folder / "progress.json").read_text("utf-8"))
            if kept["plan"] == plan:
                return kept["done"], kept["problems"]
        except (OSError, ValueError, KeyError):
            pass
        return 0, []

    def _array(self, name, shape, dtype, done):
        mode = "r+" if done else "w+"
        return np.lib.format.open_memmap(self.folder / name, mode=mode, dtype=dtype, shape=shape)

    def _crop(self, position, number):
        """One crop as the teacher (224 x 224) and as the student (side x side) see it, both uint8."""
        rng = np.random.default_rng([self.seed, position, number])
        pair = self._boxed(position, rng, whole=number == 0)
        if number and rng.random() < _MIXED:
            other, share = self._boxed(int(rng.integers(len(self.images))), rng), rng.uniform(0.3, 0.7)
            pair = [_blend(mine, theirs, share) for mine, theirs in zip(pair, other, strict=True)]
        return tuple(np.asarray(picture) for picture in pair)

    def _boxed(self, position, rng, *, whole=False):
        image = Image.fromarray(self.images[position])
        box = (0, 0, *image.size) if whole else _random_box(*image.size, rng)
        mirrored = not whole and rng.random() < 0.5
        both = [image.resize((side, side), Image.BILINEAR, box=box) for side in (_TEACHER_SIDE, self.side)]
        return [picture.transpose(Image.FLIP_LEFT_RIGHT) if mirrored else picture for picture in both]


def _random_box(width, height, rng):
    """A box (left, top, right, bottom) of a fifth to all of the area, its aspect within 3/4 to 4/3 of the image's."""
    share, aspect = rng.uniform(0.2, 1.0), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    wide, high = min(1.0, np.sqrt(share * aspect)), min(1.0, np.sqrt(share / aspect))
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    return left * width, top * height, (left + wide) * width, (top + high) * height


def _blend(mine, theirs, share):
    return Image.blend(mine, theirs, share)
