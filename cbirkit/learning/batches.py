"""Batches of images for training: decoded once where they fit into memory, read ahead in a thread where not."""

import contextlib
import hashlib
import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from .._optional import require
from ..images import ImageCollection, ImageProblem
from ..images.files import DECODING
from ..store.reading import ahead
from .labels import class_numbers, labels_of
from .samplers import Shuffled

log = logging.getLogger(__name__)

_BLOCK = 256  # images decoded between two updates of the bar


class ImageBatches:
    """Go through a collection of images in batches of (tensor (n, 3, h, w) float32, class numbers (n,) int64).

    Images are resized once and kept as uint8 while they take at most `memory` gigabytes (n_images x h x w x 3
    bytes); above that, each batch is decoded anew, a few batches ahead, in threads. Both ways give the same
    batches. The batches of an epoch follow from ``random_state`` and the number of the epoch alone, so that a
    resumed training meets the same ones.

    Images that cannot be read are named in the log and in `problems`, and left out: before the batches are
    drawn where images are kept, else when they are met, so that a batch may be smaller.

    Parameters
    ----------
    images : ImageCollection or sequence of images
    labels : sequence or str, optional
        One an image, or the column with them; default the column ``label``. For data without labels give
        ``range(len(images))``: every image is its own class.
    preprocessing : cbirkit.nets.preprocessing.Preprocessing
        That of the network, such as ``Deep(…).preprocessing``.
    batch_size : int
        For the default sampler.
    sampler : Shuffled, ClassBalanced or InOrder, optional
        Instead of ``Shuffled(batch_size)``.
    augment : Augmentation, optional
        Applied to pixels in [0, 1] before mean and std.
    random_state : int, RandomState or None
    memory : float
        Gigabytes of pixels that may be kept; 0 keeps none.
    progress : bool
        Show a bar while the images that are to be kept are read, if it takes longer than a second.

    Attributes
    ----------
    classes : ndarray (n_classes,)
        The labels, sorted; class number i stands for ``classes[i]``.
    targets : ndarray (n_images,), int64
        Class numbers of all images.
    problems : DataFrame with the columns ``name`` and ``reason``

    Raises
    ------
    ValueError
        No images, no labels, a label that is missing, or no image that can be read.

    Examples
    --------
    >>> from cbirkit.nets.preprocessing import Preprocessing
    >>> images = ImageCollection.from_arrays(np.zeros((10, 8, 8, 3), np.uint8), labels=list("aaaaabbbbb"))
    >>> batches = ImageBatches(images, preprocessing=Preprocessing(size=8), batch_size=5)
    >>> [tuple(pixels.shape) for pixels, targets in batches]
    [(5, 3, 8, 8), (5, 3, 8, 8)]
    """

    def __init__(
        self, images, labels=None, *, preprocessing, batch_size=64, sampler=None, augment=None, random_state=0,
        memory=2.0, progress=True,
    ):  # fmt: skip
        if not isinstance(images, ImageCollection):
            images = ImageCollection.from_arrays(images)
        if not len(images):
            raise ValueError(f"there is no image in {images.name!r}; give at least one")
        if not memory >= 0:
            raise ValueError(
                f"memory must be a number of gigabytes >= 0, got {memory!r}; 2.0 is the default"
            )
        self.images, self.preprocessing, self.augment = images, preprocessing, augment
        self.memory, self.progress = memory, progress
        self.sampler = Shuffled(batch_size) if sampler is None else sampler
        self.classes, self.targets = class_numbers(
            labels_of(images, labels), len(images), images.ids
        )
        self.seed = int(check_random_state(random_state).randint(2**31 - 1))
        self.problems = pd.DataFrame({"name": [], "reason": []}, dtype=object)
        self._good = self._pixels = None  # positions and uint8 (n_good, h, w, 3), once prepared
        self._passes = 0

    def __len__(self):
        return self.sampler.n_batches(self.targets[self._positions()])

    def __iter__(self):
        """One epoch after another, each in its own order."""
        self._passes += 1
        return self.epoch(self._passes - 1)

    def epoch(self, number, start=0, device="cpu"):
        """Iterate over the batches of epoch `number` from batch `start` on; the tensors are made on `device`."""
        positions = self._positions()
        batches = self.sampler.epoch(
            self.targets[positions], np.random.RandomState(self._seeds(number))
        )
        generator = require("torch").Generator()
        made = enumerate(batches[start:], start=start)
        read = (
            ((number_, chosen, self._pixels[chosen]) for number_, chosen in made)
            if self._pixels is not None
            else self._read(made)
        )
        with contextlib.closing(read):
            for at, chosen, pixels in read:
                if not len(chosen):
                    continue
                generator.manual_seed(int(self._seeds(number, at)[0]))
                yield self._tensors(pixels, self.targets[positions[chosen]], generator, device)

    def identity(self):
        """JSON values that tell these batches from others."""
        ids = hashlib.sha256(
            "\n".join(map(str, self.images.ids)).encode("utf-8", "backslashreplace")
        ).hexdigest()
        settings = [repr(thing) for thing in (self.preprocessing, self.sampler, self.augment)]
        return [self.seed, ids, hashlib.sha256(self.targets.tobytes()).hexdigest(), *settings]

    def _seeds(self, *numbers):
        return np.random.SeedSequence([self.seed, *numbers]).generate_state(4)

    def _tensors(self, pixels, targets, generator, device):
        """uint8 (n, h, w, 3) and int64 (n,) -> the two tensors of a batch."""
        torch = require("torch")
        pixels = (
            torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).to(torch.float32)
        )  # (n, 3, h, w)
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device=device).view(1, 3, 1, 1)
            for v in self._scale()
        )
        targets = torch.from_numpy(targets).to(device)
        if self.augment is None:
            return pixels.mul_(1 / (255 * std)).sub_(mean / std), targets
        changed = self.augment(pixels.div_(255), generator).contiguous(
            memory_format=torch.channels_last
        )
        return changed.sub_(mean).div_(std), targets.repeat(len(changed) // len(targets))

    def _scale(self):
        return self.preprocessing.mean, self.preprocessing.std

    # ------------------------------------------------------------------ reading

    def _positions(self):
        """Positions of the images that take part; the first call reads all of them if they fit."""
        if self._good is None:
            if math.prod(self.preprocessing.shape) * 3 * len(self.images) <= self.memory * 1e9:
                self._keep_all()
            else:
                self._good = np.arange(len(self.images))
        return self._good

    def _keep_all(self):
        from tqdm.auto import tqdm

        pixels = np.empty((len(self.images), *self.preprocessing.shape, 3), dtype=np.uint8)
        good = np.zeros(len(self.images), dtype=bool)
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm(
                total=len(good),
                desc="images",
                unit="image",
                delay=1,
                leave=False,
                disable=not self.progress,
            ) as bar,
        ):
            for start in range(0, len(good), _BLOCK):
                block = range(start, min(start + _BLOCK, len(good)))
                for position, image in zip(block, pool.map(self._resized, block), strict=True):
                    if image is not None:
                        pixels[position], good[position] = image, True
                bar.update(len(block))
        self._good = np.flatnonzero(good)
        if not len(self._good):
            name, reason = self.problems.iloc[0]
            raise ValueError(
                f"none of the {len(good)} images can be used; the first, {name!r}: {reason}"
            )
        self._pixels = pixels if good.all() else pixels[good]

    def _read(self, numbered):
        """Decode the batches one after another, ahead of their use: yields (number, positions, uint8 (n, h, w, 3))."""

        def read():
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for number, chosen in numbered:
                    images = list(pool.map(self._resized, chosen.tolist()))
                    there = [image is not None for image in images]
                    pixels = [image for image in images if image is not None]
                    yield number, chosen[there], np.stack(pixels) if pixels else None

        return ahead(read(), depth=2)

    def _resized(self, position):
        """One image as uint8 (h, w, 3), or None if it cannot be read."""
        try:
            with DECODING.kept():
                return self.preprocessing.resized(self.images[position])
        except (ImageProblem, OSError) as problem:
            name = str(self.images.ids[position])
            reason = (
                getattr(problem, "reason", None)
                or getattr(problem, "strerror", None)
                or str(problem)
            )
            if name not in set(self.problems["name"]):
                log.warning("%s cannot be read and is left out: %s", name, reason)
                self.problems.loc[len(self.problems)] = [name, reason]
            return None
