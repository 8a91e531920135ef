"""Batches for training: which images make them up, their pixels (decoded once, or read ahead in a thread) and class numbers."""

import contextlib
import dataclasses
import hashlib
import logging
import math
import os
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from cbirkit._atomic import reason_of
from cbirkit._optional import require
from cbirkit.encoders.base import check_count, check_number
from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.images.files import DECODING
from cbirkit.persistence import code_identity
from cbirkit.ranking.codes import aligned, as_labels
from cbirkit.store import ahead

log = logging.getLogger(__name__)
_TELLING = threading.Lock()  # several threads read, one tells of a problem

# ------------------------------------------------------------------ labels


def labels_of(images, labels=None):
    """The labels of a collection: given, one an image, or of a column (default ``label``).

    Raises
    ------
    ValueError
        There is no such column.
    """
    if labels is not None and not isinstance(labels, str):
        return aligned(labels, images.ids, "labels")
    name = labels or "label"
    if name not in images.table:
        raise ValueError(
            f"{images.name!r} has no column {name!r} to train on; pass labels=, one an image, or labels=range(len(images)) "
            "where each is its own class"
        )
    return images.column(name)


def class_numbers(labels, n_images, names=None):
    """Sorted classes, and the number of the class of each image.

    Parameters
    ----------
    labels : sequence
    n_images : int
        How many there should be.
    names : sequence of str, optional
        Of the images, for errors.

    Returns
    -------
    classes : ndarray (n_classes,)
    targets : ndarray (n_images,), int64

    Raises
    ------
    ValueError
        Too many or too few labels, or one is missing.

    Examples
    --------
    >>> class_numbers(["b", "a", "b"], 3)[1].tolist()
    [1, 0, 1]
    """
    labels = pd.Series(as_labels(getattr(labels, "array", labels)), dtype=object).infer_objects()
    if len(labels) != n_images:
        raise ValueError(f"got {len(labels)} labels for {n_images} images; give one an image")
    missing = np.flatnonzero(labels.isna())
    if len(missing):
        first = missing[0] if names is None else repr(str(names[missing[0]]))
        raise ValueError(
            f"{len(missing)} of {n_images} images have no label, the first is {first}; label them or leave them out (images.subset)"
        )
    try:
        classes, targets = np.unique(labels.to_numpy(), return_inverse=True)
    except TypeError:  # labels of several kinds have no order
        classes, targets = np.unique(labels.astype(str).to_numpy(), return_inverse=True)
    return classes, targets.astype(np.int64)


# ------------------------------------------------------------------ samplers


@dataclasses.dataclass(frozen=True)
class InOrder:
    """All images in their order, `batch_size` at a time, the last batch perhaps smaller: for validation.

    Examples
    --------
    >>> [len(batch) for batch in InOrder(4).epoch(np.zeros(10), None)]
    [4, 4, 2]
    """

    batch_size: int = 64

    def __post_init__(self):
        check_count("batch_size", self.batch_size)

    def n_batches(self, targets):
        """Batches in an epoch over images with these class numbers (n_images,)."""
        return -(-len(targets) // self.batch_size)

    def epoch(self, targets, random):
        """List of arrays of positions, one a batch.

        Parameters
        ----------
        targets : ndarray (n_images,), int64
        random : RandomState
        """
        order = self._order(len(targets), random)
        size = self.batch_size
        return [order[n * size : (n + 1) * size] for n in range(self.n_batches(targets))]

    def _order(self, n_images, random):
        return np.arange(n_images)


@dataclasses.dataclass(frozen=True)
class Shuffled(InOrder):
    """All images in random order, `batch_size` at a time.

    What does not fill a batch is left out of the epoch (other images each time), unless there is no full
    batch: batch normalisation suffers from very small ones.

    Examples
    --------
    >>> [len(batch) for batch in Shuffled(4).epoch(np.zeros(10), np.random.RandomState(0))]
    [4, 4]
    """

    def n_batches(self, targets):
        """Batches in an epoch over images with these class numbers (n_images,)."""
        return max(len(targets) // self.batch_size, int(len(targets) > 0))

    def _order(self, n_images, random):
        return random.permutation(n_images)


@dataclasses.dataclass(frozen=True)
class ClassBalanced:
    """P x K: in each batch `n_classes` classes with `n_per_class` images each, so that every image meets some of its own class.

    Classes take turns in random order, and so do the images of a class: all are used about equally often. A
    class with fewer than `n_per_class` images repeats some within a batch; one with a single image cannot
    give a pair and is left out. An epoch has (number of images) / (P K) batches, rounded down, at least 1.

    Parameters
    ----------
    n_classes : int
        P.
    n_per_class : int
        K.

    Raises
    ------
    ValueError
        Fewer classes with two images than `n_classes`.

    References
    ----------
    Hermans, Beyer and Leibe (2017), In defense of the triplet loss for person re-identification, arXiv
    1703.07737.

    Examples
    --------
    >>> targets = np.repeat([0, 1, 2], 5)
    >>> batch = ClassBalanced(2, 3).epoch(targets, np.random.RandomState(0))[0]
    >>> np.unique(targets[batch], return_counts=True)[1].tolist()
    [3, 3]
    """

    n_classes: int = 16
    n_per_class: int = 4

    def __post_init__(self):
        check_count("n_classes", self.n_classes)
        check_count("n_per_class", self.n_per_class)

    def n_batches(self, targets):
        """Batches in an epoch over images with these class numbers (n_images,)."""
        return max(int(len(targets) > 0), len(targets) // (self.n_classes * self.n_per_class))

    def epoch(self, targets, random):
        """List of arrays of positions, one a batch; parameters as in `InOrder.epoch`."""
        least, targets = min(2, self.n_per_class), np.asarray(targets)
        members = {c: np.flatnonzero(targets == c) for c in np.unique(targets).tolist()}
        members = {c: positions for c, positions in members.items() if len(positions) >= least}
        if len(members) < self.n_classes:
            raise ValueError(
                f"n_classes={self.n_classes} exceeds the {len(members)} classes that have at least {least} images"
            )
        classes = _Turns(np.array(sorted(members)), random)
        images = {c: _Turns(positions, random) for c, positions in members.items()}
        return [
            np.concatenate([images[c].take(self.n_per_class) for c in classes.take(self.n_classes)])
            for _ in range(self.n_batches(targets))
        ]


class _Turns:
    """Give items in random order, again and again; no item twice in one take while there are others."""

    def __init__(self, items, random):
        self._items, self._random = items, random
        self._queue = []

    def take(self, number):
        """`number` items, an array."""
        taken = []
        while len(taken) < number:
            if not self._queue:
                # those of the same take come last in the new round
                late = set(taken[-len(self._items) :] if len(taken) < len(self._items) else [])
                order = self._items[self._random.permutation(len(self._items))].tolist()
                self._queue = sorted(order, key=late.__contains__)
            missing = number - len(taken)
            taken += self._queue[:missing]
            self._queue = self._queue[missing:]
        return np.array(taken)


# ------------------------------------------------------------------ batches


class Batches:
    """Class numbers, a sampler and a seed: the batches of an epoch follow from the seed and the number of the epoch alone."""

    def __init__(self, targets, sampler, random_state):
        self.targets, self.sampler = targets, sampler
        self.seed = int(check_random_state(random_state).randint(2**31 - 1))
        self._passes = 0

    def __len__(self):
        return self.sampler.n_batches(self.targets[self._positions()])

    def __iter__(self):
        """One epoch after another, each in its own order."""
        self._passes += 1
        return self.epoch(self._passes - 1)

    def identity(self):
        """Plain values that tell these batches from others."""
        return [self.seed, hashlib.sha256(self.targets.tobytes()).hexdigest(), repr(self.sampler)]

    def _positions(self):
        return slice(None)

    def _seeds(self, *numbers):
        return np.random.SeedSequence([self.seed, *numbers]).generate_state(4)

    def _drawn(self, number):
        random = np.random.RandomState(self._seeds(number))
        return self.sampler.epoch(self.targets[self._positions()], random)


class RowBatches(Batches):
    """Batches of (rows (n, n_features), class numbers (n,)) of an array."""

    def __init__(self, X, targets, random_state, sampler):
        super().__init__(targets, sampler, random_state)
        self.X = np.ascontiguousarray(X)

    def epoch(self, number, device="cpu"):
        """Iterate over the batches of epoch `number`; the tensors are made on `device`."""
        torch = require("torch")
        for chosen in self._drawn(number):
            yield tuple(torch.from_numpy(a[chosen]).to(device) for a in (self.X, self.targets))

    def identity(self):
        """Plain values that tell these batches from others."""
        return [*super().identity(), hashlib.sha256(self.X.tobytes()).hexdigest()]


class ImageBatches(Batches):
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
        self,
        images,
        labels=None,
        *,
        preprocessing,
        batch_size=64,
        sampler=None,
        augment=None,
        random_state=0,
        memory=2.0,
        progress=True,
    ):
        if not isinstance(images, ImageCollection):
            images = ImageCollection.from_arrays(images)
        if not len(images):
            raise ValueError(f"there is no image in {images.name!r}; give at least one")
        check_number("memory (gigabytes)", memory, 0)
        self.images, self.preprocessing, self.augment = images, preprocessing, augment
        self.memory, self.progress = memory, progress
        labels = labels_of(images, labels)
        self.classes, targets = class_numbers(labels, len(images), images.ids)
        super().__init__(targets, sampler or Shuffled(batch_size), random_state)
        self.problems = pd.DataFrame({"name": [], "reason": []}, dtype=object)
        self._good = self._pixels = None  # positions and uint8 (n_good, h, w, 3), once prepared

    def epoch(self, number, device="cpu"):
        """Iterate over the batches of epoch `number`; the tensors are made on `device`."""
        positions, batches = self._positions(), self._drawn(number)
        generator = require("torch").Generator()
        if self._pixels is not None:
            read = ((at, chosen, self._pixels[chosen]) for at, chosen in enumerate(batches))
        else:
            read = ahead(self._decoded(batches))
        with contextlib.closing(read):
            for at, chosen, pixels in read:
                if len(chosen):
                    generator.manual_seed(int(self._seeds(number, at)[0]))
                    yield self._tensors(pixels, self.targets[positions[chosen]], generator, device)

    def identity(self):
        """Plain values that tell these batches from others."""
        ids = "\n".join(map(str, self.images.ids)).encode("utf-8", "backslashreplace")
        own = isinstance(self.augment, types.FunctionType)  # its repr differs in each process
        augment = code_identity(self.augment) if own else repr(self.augment)
        settings = [repr(self.preprocessing), augment]
        return [*super().identity(), hashlib.sha256(ids).hexdigest(), *settings]

    def _tensors(self, pixels, targets, generator, device):
        """uint8 (n, h, w, 3) and int64 (n,) -> the two tensors of a batch."""
        torch = require("torch")
        # (n, h, w, 3) -> (n, 3, h, w)
        pixels = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).to(torch.float32)
        scale = (self.preprocessing.mean, self.preprocessing.std)
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device=device).view(3, 1, 1) for v in scale
        )
        targets = torch.from_numpy(targets).to(device)
        if self.augment is None:
            return pixels.mul_(1 / (255 * std)).sub_(mean / std), targets
        changed = self.augment(pixels.div_(255), generator)
        changed = changed.contiguous(memory_format=torch.channels_last)
        return changed.sub_(mean).div_(std), targets.repeat(len(changed) // len(targets))

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

        n_images = len(self.images)
        pixels = np.empty((n_images, *self.preprocessing.shape, 3), dtype=np.uint8)
        good = np.zeros(n_images, dtype=bool)
        bar = {"total": n_images, "desc": "images", "delay": 1, "leave": False}
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            # closed when interrupted, so that nobody waits for the images that are still to come
            contextlib.closing(pool.map(self._resized, range(n_images))) as read,
        ):
            for position, image in enumerate(tqdm(read, **bar, disable=not self.progress)):
                if image is not None:
                    pixels[position], good[position] = image, True
        self._good = np.flatnonzero(good)
        if not len(self._good):
            name, reason = self.problems.iloc[0]
            raise ValueError(
                f"none of the {n_images} images can be used; the first, {name!r}: {reason}"
            )
        self._pixels = pixels if good.all() else pixels[good]

    def _decoded(self, batches):
        """Decode the batches one after another: yields (number, positions, uint8 (n, h, w, 3))."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, chosen in enumerate(batches):
                images = list(pool.map(self._resized, chosen.tolist()))
                there = [image is not None for image in images]
                pixels = [image for image in images if image is not None]
                yield number, chosen[there], np.stack(pixels) if pixels else None

    def _resized(self, position):
        """One image as uint8 (h, w, 3), or None if it cannot be read."""
        try:
            with DECODING.kept():
                return self.preprocessing.resized(self.images[position])
        except (ImageProblem, OSError) as problem:
            name = str(self.images.ids[position])
            with _TELLING:
                if name not in set(self.problems["name"]):
                    log.warning("%s cannot be read and is left out: %s", name, reason_of(problem))
                    self.problems.loc[len(self.problems)] = [name, reason_of(problem)]
            return None
