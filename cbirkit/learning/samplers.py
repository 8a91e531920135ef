"""Which images make up the batches of an epoch."""

import dataclasses

import numpy as np

from .options import check_whole


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """All images in random order, `batch_size` at a time.

    What does not fill a batch is left out of the epoch (other images each time), unless there is no full
    batch: batch normalisation suffers from very small ones.

    Parameters
    ----------
    batch_size : int

    Examples
    --------
    >>> [len(batch) for batch in Shuffled(4).epoch(np.zeros(10), np.random.RandomState(0))]
    [4, 4]
    """

    batch_size: int = 64

    def __post_init__(self):
        check_whole("batch_size", self.batch_size)

    def n_batches(self, targets):
        """Batches in an epoch over images with these class numbers (n_images,)."""
        return max(len(targets) // self.batch_size, int(len(targets) > 0))

    def epoch(self, targets, random):
        """List of arrays of positions, one a batch.

        Parameters
        ----------
        targets : ndarray (n_images,), int64
        random : RandomState
        """
        order = random.permutation(len(targets))
        return [
            order[n * self.batch_size : (n + 1) * self.batch_size]
            for n in range(self.n_batches(targets))
        ]


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
        check_whole("batch_size", self.batch_size)

    def n_batches(self, targets):
        """Batches in an epoch over images with these class numbers (n_images,)."""
        return -(-len(targets) // self.batch_size)

    def epoch(self, targets, random):
        """List of arrays of positions, one a batch; `random` is not used."""
        return (
            np.split(np.arange(len(targets)), range(self.batch_size, len(targets), self.batch_size))
            if len(targets)
            else []
        )


@dataclasses.dataclass(frozen=True)
class ClassBalanced:
    """P x K: in each batch `n_classes` classes with `n_per_class` images each, so that every image meets some of its own class.

    Classes take turns in random order, and so do the images of a class: all are used about equally often. A
    class with fewer than `n_per_class` images repeats some within a batch; one with a single image cannot
    give a pair and is left out.

    Parameters
    ----------
    n_classes : int
        P.
    n_per_class : int
        K.
    n_batches_per_epoch : int, optional
        Default: the number of images / (P K), rounded down, at least 1.

    Raises
    ------
    ValueError
        Fewer classes with two images than `n_classes`.

    References ---------- Hermans, Beyer and Leibe (2017), In defense of the triplet loss for person
    re-identification, arXiv 1703.07737.

    Examples
    --------
    >>> targets = np.repeat([0, 1, 2], 5)
    >>> batch = ClassBalanced(2, 3).epoch(targets, np.random.RandomState(0))[0]
    >>> np.unique(targets[batch], return_counts=True)[1].tolist()
    [3, 3]
    """

    n_classes: int = 16
    n_per_class: int = 4
    n_batches_per_epoch: int | None = None

    def __post_init__(self):
        check_whole("n_classes", self.n_classes)
        check_whole("n_per_class", self.n_per_class)
        check_whole("n_batches_per_epoch", self.n_batches_per_epoch, optional=True)

    def n_batches(self, targets):
        """Batches in an epoch over images with these class numbers (n_images,)."""
        if not len(targets):
            return 0
        return self.n_batches_per_epoch or max(
            1, len(targets) // (self.n_classes * self.n_per_class)
        )

    def epoch(self, targets, random):
        """List of arrays of positions, one a batch; parameters as in `Shuffled.epoch`."""
        members = self._members(targets)
        classes = _Turns(np.array(sorted(members)), random)
        images = {c: _Turns(positions, random) for c, positions in members.items()}
        batches = []
        for _ in range(self.n_batches(targets)):
            chosen = classes.take(self.n_classes)
            batches.append(np.concatenate([images[c].take(self.n_per_class) for c in chosen]))
        return batches

    def _members(self, targets):
        """Positions (n,) of the images of each class that can be used."""
        targets = np.asarray(targets)
        order = np.argsort(targets, kind="stable")
        classes, starts = np.unique(targets[order], return_index=True)
        least = min(2, self.n_per_class)
        groups = zip(classes.tolist(), np.split(order, starts[1:]), strict=True)
        members = {c: positions for c, positions in groups if len(positions) >= least}
        if len(members) < self.n_classes:
            raise ValueError(
                f"n_classes={self.n_classes} exceeds the {len(members)} classes that have at least {least} images; "
                f"use n_classes <= {len(members)}"
                if members
                else f"no class has {least} images; give images with labels that repeat"
            )
        return members


class _Turns:
    """Give items in random order, again and again; no item twice in one take while there are others."""

    def __init__(self, items, random):
        self._items, self._random = items, random
        self._queue = []

    def take(self, number):
        """`number` items, an array."""
        taken = []
        while len(taken) < number:
            missing = number - len(taken)
            if not self._queue:
                self._queue = self._fresh(
                    taken[-len(self._items) :] if len(taken) < len(self._items) else []
                )
            taken += self._queue[:missing]
            self._queue = self._queue[missing:]
        return np.array(taken)

    def _fresh(self, just_taken):
        order = self._items[self._random.permutation(len(self._items))].tolist()
        late = set(just_taken)  # of the same take: they come last in the new round
        return [item for item in order if item not in late] + [
            item for item in order if item in late
        ]
