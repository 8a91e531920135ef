"""`LabelExplorer`: name the classes of your own pictures by keyboard; the next ones are proposed, and a curve shows what it brings."""

import io
import time
from collections import Counter
from functools import lru_cache
from statistics import median

import numpy as np
from ipywidgets import Box, Dropdown
from matplotlib.figure import Figure
from scipy.stats import binomtest

from cbirkit.datasets.label_file import LabelFile, checked_label, drawn_by_name
from cbirkit.encoders.base import check_choice, check_number
from cbirkit.labelling import probabilities, propose
from cbirkit.learning.projection import checked_embeddings
from cbirkit.plots import Section, Tile, View

from .explorer import Explorer, checked_images
from .queries import PREVIEW, ThumbnailCache
from .widgets import ChoiceRow, TileGrid, button, labelled

STRATEGIES = ("margin", "typiclust", "random")
KEYS = [*"123456789 ", "u", "backspace"]  # the last two take back
_BATCH, _SHOWN = 5, 12  # pictures proposed with what is known at the time; labels shown last
_HOW = "1 to 9: the label; Tab: a new name; Space: skip; U: take back"


class LabelExplorer(Explorer):
    """Label pictures by keyboard: you name the classes, the next pictures are proposed, and every label is saved at once.

    A share of the pictures, drawn by their names, is kept out of the proposals and of the training, and comes up in between: on these
    the accuracy of a classifier (`cbirkit.labelling.probabilities`) is measured. Proposed pictures are chosen, not drawn, so an accuracy
    on them, cross-validated or not, would be one of another collection.

    The file is a CSV with the columns ``path`` and ``label``, as ``datasets.from_folder(folder, labels=file)`` reads it. It is replaced
    as a whole after each label, so a kill loses none: an explorer made with it again goes on where it ends.

    Parameters
    ----------
    images : ImageCollection
        Labels that it has are not looked at.
    embeddings : array (n_images, n_dims), float
    file : str or path
        CSV file of labels; it may be there, with labels of these images.
    classes : sequence of str
        Names known from the start.
    strategy : {"margin", "typiclust", "random"}
        How the next pictures are chosen, see `cbirkit.labelling.propose`.
    held_out : float
        Share of the pictures to measure on, from 0 (nothing is measured) to .5.

    Attributes
    ----------
    labels : dict of str
        By id, in the order in which they were given.
    curve : list of (int, float)
        Labels that a classifier learned from, and its accuracy on the held-out pictures that are labelled now.
    seconds : list of float
        Time that each label took in this session.

    Raises
    ------
    TypeError, ValueError, OSError
        No images, rows that do not fit, an unknown strategy, a number out of range; a file that holds something else, which is left alone.

    Examples
    --------
    >>> LabelExplorer(images, retriever.embeddings, "labels.csv")                     # doctest: +SKIP
    """

    def __init__(self, images, embeddings, file, *, classes=(), strategy="margin", held_out=0.2):
        self.images, self._rows = checked_images(images), checked_embeddings(embeddings, images.ids)
        check_choice("strategy", strategy, STRATEGIES)
        check_number("held_out", held_out, 0, 0.5)
        held, self._others = drawn_by_name(images.ids, held_out)
        self._share, self._held = held_out, dict.fromkeys(held)
        self._classes = self._given = [checked_label(name) for name in classes]
        self._file, self._thumbnails = LabelFile(file, images.ids), ThumbnailCache()
        self._done, self._queue, self._points, self.seconds = dict(self._file.labels), [], [], []
        self._make_parts(strategy)
        for n in np.linspace(0, len(self._done), 9).astype(int)[:-1]:
            self._measure(list(self._done)[:n])
        self._queue = self._proposed()
        self._show("Going on" if self._done else "To begin, type a class in the field, then Enter")

    def _make_parts(self, strategy):
        self._now = TileGrid(tile_size=240, hot_keys=KEYS, heading="What is this?", summary=_HOW)
        self._names = ChoiceRow(name="label", adding="new name, then Enter")
        self._strategy = Dropdown(options=STRATEGIES, value=strategy, description="next by")
        labelled(self._strategy, "How pictures are chosen, from the next batch on")
        skip = button("Skip", "Leave this picture out (Space)", self._guarded(self.label))
        undo = button("Undo", "Take the last label back (U)", self._guarded(self.undo))
        self._plot, self._last = TileGrid(tile_size=200), TileGrid(tile_size=84)
        controls = [self._names, Box([skip, undo]).add_class("cbk-row"), self._strategy]
        self._arrange(self._now, controls, [self._plot, self._last])
        self._now.on("key", self._guarded(self._press))
        self._names.on("choose", give := self._guarded(self.label)).on("add", give)
        self._last.on("pick", self._guarded(self.show))

    # ------------------------------------------------------------------ for use from Python

    @property
    def labels(self):
        return self._file.labels

    def label(self, name=None):
        """Give the picture shown a label (a known or a new name), save it, and show the next; None skips it for this session.

        Raises
        ------
        ValueError, OSError
            Nothing is left, no name, or the file cannot be written or was changed by others; nothing changes then.
        """
        if self.shown is None:
            raise ValueError("no picture is left; those skipped come again in another session")
        self._save(self._done | {self.shown: name if name is None else checked_label(name)})
        self.seconds += [time.monotonic() - self._since] * bool(name)
        self._classes = [c for c in self._classes if c in {*self._given, *self.labels.values()}]
        told = f"{self.shown}: {name or 'skipped'}"
        self._queue = self._queue[1:] or self._proposed()
        self._show(told)
        if len(self._queue) == 1:  # while the reader looks at it
            self._queue += self._proposed()
            self._tell(told)

    def undo(self):
        """Take back the last label or skip, and show its picture again; ValueError where there is none."""
        if not self._done:
            raise ValueError("there is no label to take back")
        self.show(list(self._done)[-1])

    def show(self, image_id):
        """Show a picture to label it, or to label it again: what it had is taken back."""
        self.images.positions([image_id])  # says if there is none
        name = self._done.get(image_id) or ""
        self._save({i: name for i, name in self._done.items() if i != image_id})
        self._queue = [image_id, *(i for i in self._queue if i != image_id)]
        self._show(f"{image_id}: {name or 'no label'} taken back", name)

    # ------------------------------------------------------------------ labelling

    def _press(self, key, image_id):
        if image_id != self.shown and key not in KEYS[-2:]:
            raise ValueError("that key came before the next picture was there; press it again")
        if not key.isdigit():
            return self.label() if key == " " else self.undo()
        if int(key) > len(self._classes):
            raise ValueError(f"there is no class {key} yet; Tab leads to the field for a new name")
        return self.label(self._classes[int(key) - 1])

    def _save(self, done):
        self._file.write({i: name for i, name in done.items() if name})
        self._done = done

    def _learned_from(self, done):
        """Labels of some pictures that are not held out, and their embeddings."""
        labels = {i: self.labels[i] for i in done if i in self.labels and i not in self._held}
        return labels, self._rows[self.images.positions(labels)]

    def _proposed(self):
        """The next pictures, and after them as many held-out ones as keep to their share; measures how good the labels are."""
        self._measure(self._done)
        out, (labels, _) = {*self._done, *self._queue}, self._learned_from(self._done)
        pool, held = ([i for i in ids if i not in out] for ids in (self._others, self._held))
        n_held = int(self._share * (len(self.labels) + _BATCH)) + len(labels) - len(self.labels)
        held = held[: min(max(n_held, 0), _BATCH) if pool else _BATCH]
        ids, n, chosen = [*labels, *pool], min(_BATCH - len(held), len(pool)), []
        if n:
            how = {"strategy": self._strategy.value, "random_state": len(self._done)}
            rows, known = self._rows[self.images.positions(ids)], list(range(len(labels)))
            chosen = propose(rows, known, list(labels.values()), n, **how)
        return [*(ids[i] for i in chosen), *held]

    def _measure(self, done):
        """Add what a classifier of the labels of some pictures says of the held-out ones."""
        labels, rows = self._learned_from(done)
        self._points = [one for one in self._points if one[0] < len(labels)]
        if len(names := np.unique(list(labels.values()))) > 1 and self._held:
            held = self._rows[self.images.positions(self._held)]
            best = probabilities(rows, list(labels.values()), held).argmax(axis=1)
            self._points.append((len(labels), dict(zip(self._held, names[best], strict=True))))

    # ------------------------------------------------------------------ showing

    def _show(self, told, pressed=""):
        counts, tiles = Counter(self.labels.values()), self._thumbnails.tiles
        self._classes = list(dict.fromkeys([*self._classes, *counts]))
        words = [f"{n} {name} ({counts[name]})" for n, name in enumerate(self._classes, 1)]
        self._names.options = list(zip(words, self._classes, strict=True))
        self._names.value, now, self._since = pressed, self._queue[:1], time.monotonic()
        self.shown = next(iter(now), None)
        notes, how = ["held out" if i in self._held else "" for i in now], {"captions": True}
        self._picture = tiles(self.images, now, notes, "picture", size=PREVIEW, **how)
        self._now.show(self._picture)
        self._now.send({"event": "focus"})
        last = list(self.labels)[: -_SHOWN - 1 : -1]
        self._recent = tiles(self.images, last, map(self.labels.get, last), "labelled", **how)
        self._last.show(self._recent, heading="Labelled last: click to change" * bool(last))
        self._tell(told)

    def _tell(self, told):
        """Say how far it is, and draw the curve."""
        names, file = self.labels.values(), self._file.path.name
        words = [told, f"{len(names):,} labels of {len(set(names))} classes in {file}"]
        if self.seconds:
            each = median(self.seconds)
            words.append(f"{each:.1f} s a label, {3600 / max(each, 0.1):,.0f} an hour")
        tested = [(i, name) for i, name in self.labels.items() if i in self._held]
        right = lambda guess: sum(guess[i] == name for i, name in tested)
        counts = [(n, right(guess)) for n, guess in self._points if tested]
        self.curve = [(n, found / len(tested)) for n, found in counts]
        self._curve = [_drawn(tuple(counts), len(tested))] if counts else []
        self._plot.show(self._curve)
        self._told = "; ".join([*words, *(tile.title for tile in self._curve)])
        self._status.say(self._told)

    def _view(self):
        curve = Section("What it brings", "", self._curve, size=2)
        last = Section("Labelled last", "", self._recent)
        return View("Labels", self._told, [curve, last], *self._picture)


@lru_cache(4)
def _drawn(counts, n):
    """A tile of the curve, with Wilson's 95 % intervals: `counts` are (labels, right ones of the `n` held-out pictures)."""
    at, right = np.array(counts).T
    found = [binomtest(int(one), n).proportion_ci(method="wilson") for one in right]
    ax = Figure(figsize=(3.2, 3.2), dpi=150, layout="constrained").subplots()
    ax.fill_between(at, *zip(*found, strict=True), alpha=0.15, lw=0)
    ax.plot(at, right / n, "o-", ms=3)
    ax.set(ylim=(0, 1.02), xlabel="labels learned from", ylabel=f"accuracy on {n} held out")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.figure.savefig(buffer := io.BytesIO(), format="png")
    far = f"{right[-1] / n:.2f} ({found[-1].low:.2f} to {found[-1].high:.2f})"
    told = f"accuracy {far} on {n} held-out pictures, learned from {at[-1]} labels"
    return Tile("curve", buffer.getvalue(), f"Curve: {told}", title=told)
