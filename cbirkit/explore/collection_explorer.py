"""`CollectionExplorer`: the first look at a collection: its pictures, copies, outliers, broken files, classes and sizes."""

import time
from contextlib import suppress
from dataclasses import replace
from threading import RLock

import pandas as pd
from ipywidgets import Box, Label, VBox

from cbirkit.datasets.facts import MEASURED, Facts
from cbirkit.evaluation import Survey, survey
from cbirkit.images import ImageProblem
from cbirkit.learning.projection import checked_embeddings
from cbirkit.plots import Table, Tile

from .collection_views import VIEWS, CollectionViews, ViewRequest
from .explorer import Linked, Task, checked_images, whole_number
from .picker import FilterRow
from .queries import ThumbnailCache, check_type
from .widgets import ChoiceRow, Pager, TextTable, TileGrid, reveal

_OUTLIERS = 12  # at least, and one in a hundred images, up to a page
_PATIENCE = 1.0  # seconds to wait before anything is shown: small collections are ready by then
_BETWEEN = 0.5  # seconds between two reports
_LARGER = 512  # pixels of the picked picture
_MOST_COLUMNS = 12  # of the table that are told of it
_AT_LENGTH = ("folder", "file", "bytes")  # left to the table
_MOST_ALIKE = 5  # copies that are named


class _StopSurvey(Exception):
    """Nobody wants to know any more."""


def _asked(name):
    """Property that is a part of what is asked for; to set it shows something else."""
    change = lambda self, value: self._change(**{name: value})
    return property(lambda self: getattr(self._asked, name), change)


class CollectionExplorer(Linked):
    """Look around a collection: a contact sheet, copies and near-copies side by side, outliers, broken files, classes, sizes.

    The pictures appear at once. What needs every image to be decoded is found in a thread, as `evaluation.survey` has it.

    Parameters
    ----------
    images : ImageCollection
    embeddings : array (n_images, n_dims) or estimator with ``transform``, optional
        For outliers and distances.
    found : Survey, optional
        Of these images, made before.
    page_size : int
        Images on a page.
    sort_by : str, optional
        ``"id"``, a column of the table, or ``"pixels"``, ``"width"``, ``"height"``, ``"distance"``, which count once all
        images have been looked at; ``"-pixels"`` is descending. Default: the order of the collection.

    Attributes
    ----------
    found : Survey or None
        None while images are being looked at.
    view : str
        "contact sheet", "copies", "near-copies", "outliers", "broken files", "classes" or "sizes"; can be set.
    page : int
        From 1; can be set.
    n_pages : int
        Of the present view.
    shown : list of str
        Ids of the images on this page, in order; in "broken files" their names.
    sort_by : str or None; can be set
    selected : str or None
        Id of the picked image; can be set.

    Raises
    ------
    TypeError, ValueError
        No collection; no image, or none that can be read; embeddings that do not fit; a survey of other images; an
        unknown column, value, view or page.

    Examples
    --------
    >>> import numpy as np
    >>> from cbirkit.images import ImageCollection
    >>> pixels = np.random.default_rng(0).integers(0, 255, (3, 24, 24, 3), np.uint8)
    >>> images = ImageCollection.from_arrays(pixels[[0, 1, 0, 2]], labels=list("aabb"), ids=list("pqrs"))
    >>> seen = CollectionExplorer(images).wait()
    >>> seen.filter(label="b")
    >>> seen.shown
    ['r', 's']
    >>> seen.view = "copies"
    >>> seen.shown
    ['p', 'r']
    """

    def __init__(self, images, embeddings=None, *, found=None, page_size=48, sort_by=None):
        page_size = whole_number(page_size, "page_size")
        embeddings = _checked_input(checked_images(images), embeddings, found)
        self.images, self._callbacks, self._lock = images, [], RLock()
        far = embeddings is not None or (found is not None and "distance" in found.table)
        self._facts, self._thumbnails = Facts(images, with_embeddings=far), ThumbnailCache()
        self._views = CollectionViews(self._facts, self._thumbnails, page_size)
        self._asked, self._selected = ViewRequest(sort_by=sort_by), None
        self._told_at, self._stopped = 0.0, False
        self._make_parts()
        self._show(self._asked)
        if found is not None:
            self._learn(found)
            return
        n_outliers = min(page_size, max(_OUTLIERS, len(images) // 100))

        def look():
            how = {"n_outliers": n_outliers, "progress": self._on_progress}
            with suppress(_StopSurvey):
                self._learn(survey(images, embeddings, **how))

        self._task = Task(look, self._on_end, "collection survey")
        self._task.wait(_PATIENCE)

    # ------------------------------------------------------------------ for use from Python

    @property
    def found(self):
        return self._views.found

    view, page, sort_by = map(_asked, ("view", "page", "sort_by"))

    @property
    def kept(self):
        """Ids of all images that pass the filters, in the order of the contact sheet, as list of str."""
        return [str(i) for i in self.images.ids[self._views.kept(self._asked)]]

    def filter(self, *, containing="", **columns):
        """Keep only some images, in place of earlier filters.

        Parameters
        ----------
        containing : str
            What the id holds, upper or lower case.
        **columns
            A value each, such as ``label="cat"``; a tuple (low, high) is a range of numbers with both ends included, and
            None means that no value is known. A survey adds ``width``, ``height``, ``pixels``, ``longer_side``,
            ``orientation`` and, with embeddings, ``distance``.

        Raises
        ------
        ValueError
            An unknown column, or a value that no image has; nothing changes then.
        """
        self._refilter(tuple(columns.items()), containing, self.sort_by)

    def clear_filter(self):
        """Show all images again."""
        self.filter()

    @property
    def selected(self):
        return None if self._selected is None else str(self.images.ids[self._selected])

    @selected.setter
    def selected(self, image_id):
        self._selected = int(self.images.positions([image_id])[0])
        self._status.say(self._show_detail())
        for grid in self._grids:
            grid.selected = self.selected

    def on_pick(self, callback):
        """Call ``callback(id)`` when a picture is clicked."""
        self._callbacks.append(callback)

    @property
    def _advice(self):
        return f"look at a part: images[:1000]; {self._progress.value}"

    def close(self):
        """Take the explorer off the page, and stop looking at images."""
        self._stopped = True
        super().close()

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self):
        choose = self._guarded(lambda view: setattr(self, "view", view))
        options = self._views.options()
        self._menu = ChoiceRow(options=options, value=VIEWS[0], name="view").on("choose", choose)
        self._filters = FilterRow(self._facts, self._guarded(self._refilter))
        self._progress = Label(f"Being looked at: 0 of {len(self.images):,} images")
        self._larger = TileGrid(tile_size=240, summary="Click a picture to see it here, larger.")
        self._known = TextTable()
        detail = VBox([self._larger, self._known.add_class("cbk-facts")])
        self._pager = Pager(self._guarded(lambda page: setattr(self, "page", page)))
        # They are kept and filled anew, so that focus and scroll position stay: the sheet, then groups.
        kinds = [("cbk-sheet", 108), *[("cbk-group", 160)] * self._views.n_groups]
        self._grids = [TileGrid(tile_size=size).add_class(kind) for kind, size in kinds]
        for grid in self._grids:
            grid.on("pick", self._guarded(self._pick))
        self._tables = [TextTable().on("pick", self._guarded(self._pick_row, i)) for i in range(3)]
        self._lists = Box().add_class("cbk-lists")
        detail.add_class("cbk-panel").add_class("cbk-detail")
        columns = Box([detail, VBox([self._pager, self._lists])]).add_class("cbk-columns")
        super().__init__([self._menu, self._filters, self._make_status(), self._progress, columns])
        self.add_class("cbk-collection")

    # ------------------------------------------------------------------ events

    def _change(self, page=1, **parts):
        self._show(replace(self._asked, page=page, **parts))

    def _refilter(self, filters, containing, sort_by):
        self._change(filters=filters, containing=containing, sort_by=sort_by)

    def _pick(self, image_id):
        self.selected = image_id
        for callback in self._callbacks:
            callback(image_id)
        if self._linked is not None:
            self._ask(image_id)

    def _pick_row(self, which, row):
        """A class or size: show its images."""
        tables = [section.table for section in self._content.sections if section.table]
        filters = dict(self._asked.filters) | tables[which].filters[row]
        self._change(view=VIEWS[0], filters=tuple(filters.items()))

    # ------------------------------------------------------------------ the survey, in its thread

    def _on_progress(self, n_done, n_images):
        if self._stopped:
            raise _StopSurvey
        if n_done == n_images or time.monotonic() - self._told_at > _BETWEEN:
            self._told_at = time.monotonic()
            self._tell_progress(f"Being looked at: {n_done:,} of {n_images:,} images")

    def _on_end(self, failure):
        if failure is not None:
            self._tell_progress("The images could not be looked at")
            self._status.say(f"the images could not be looked at: {failure}", problem=True)

    def _learn(self, found):
        with self._lock:
            self._views.learn(found)
            self._tell_progress("")
            self._menu.options = self._views.options()
            self._show(self._asked)
            if self._selected is not None:
                self._show_detail()
            if self.view == VIEWS[0] and not self._asked.filters:
                self._status.say(self._views.told)

    def _tell_progress(self, text):
        with self._lock:
            self._progress.value = text
            reveal(text, self._progress)
            if text and self._content.waits:
                self._show(self._asked, say=False)

    # ------------------------------------------------------------------ showing

    def _show(self, asked, *, say=True):
        """Make the content first, so that nothing changes on the page if that fails."""
        with self._lock:
            content = self._views.content(asked, self._progress.value)
            self._asked, self._content, self._menu.value = asked, content, asked.view
            self.n_pages, self.shown = content.n_pages, content.ids
            filtering, sorting = asked.view != "broken files", asked.view == VIEWS[0]
            how = {"filtering": filtering, "sorting": sorting}
            self._filters.show(asked.filters, asked.containing, asked.sort_by, **how)
            self._pager.show(asked.page, content.n_pages)
            words = [content.where, asked.filtered if filtering else ""]
            self._fill(content.sections, content.title, ", ".join(filter(None, words)))
            if say:
                self._status.say(content.told)

    def _fill(self, sections, title, summary):
        """Show the tiles without a heading on the sheet, groups in frames, and tables."""
        sheet = [tile for one in sections for tile in one.tiles if not one.heading]
        chosen = self.selected or ""
        self._grids[0].show(sheet, heading=title, summary=summary, selected=chosen)
        groups = [one for one in sections if one.heading and one.tiles]
        for grid, one in zip(self._grids[1:], groups, strict=False):
            grid.show(one.tiles, heading=one.heading, summary=one.summary, selected=chosen)
        tables = [one for one in sections if one.table]
        for widget, one in zip(self._tables, tables, strict=False):
            widget.show(one.table, caption=one.heading)
        (self._lists.add_class if tables else self._lists.remove_class)("cbk-tables")
        shown = (*self._grids[: 1 + len(groups)], *self._tables[: len(tables)])
        if self._lists.children != shown:
            self._lists.children = shown

    def _show_detail(self):
        """Show the picked image larger, with what is known of it; the same as a sentence."""
        name = self.selected
        picture = self._thumbnails.get(self.images, [name], _LARGER)[0]
        rows = self._known_of(self._selected, name)
        words = [f"{what} {value}" for what, value in rows if what not in _AT_LENGTH]
        told = f"{name}: {', '.join(words)}"
        self._larger.show([Tile(name, picture, told, title=name)], heading="Picked", summary="")
        self._known.show(Table((), [("image", name), *rows]))
        return told

    def _known_of(self, at, name):
        """list of (what, value) of one image."""
        facts, rows = self._facts, [("size", self._size(at))]
        columns = [one for one in facts.table if one not in ("label", "path", *MEASURED)]
        rows += [(one, facts.text(one, at)) for one in ["label", *columns[: _MOST_COLUMNS - 1]]]
        far, path = facts.text("distance", at), self.images.path(at)
        rows += [("distance", f"{float(far):.3f}" if far else "")]
        if path is not None:
            place = path.as_posix().removesuffix(f"/{name}")
            rows += [("file" if place == path.as_posix() else "folder", place)]
            rows += [("bytes", f"{path.stat().st_size:,}" if path.is_file() else "")]
        for view, words in (("copies", "same as"), ("near-copies", "looks like")):
            alike = self._views.alike(view, name)
            rest = len(alike) - _MOST_ALIKE
            more = f" and {rest:,} more" if rest > 0 else ""
            rows += [(words, ", ".join(alike[:_MOST_ALIKE]) + more)]
        return [(what, value) for what, value in rows if value]

    def _size(self, at):
        if size := self._views.size(at):
            return f"{size} pixels"
        try:
            height, width = self.images[at].shape[:2]
            return f"{width} × {height} pixels"
        except (ImageProblem, OSError) as problem:
            return f"cannot be read: {getattr(problem, 'reason', problem)}"

    def _view(self):
        content = self._content
        where = content.where if content.n_pages > 1 or content.waits else ""
        return replace(content, told=f"{content.told} {where}".strip())


def _checked_input(images, embeddings, found):
    """Embeddings as an array or estimator, or None; TypeError or ValueError for a survey that does not fit."""
    if found is not None:
        check_type("found", found, Survey, "evaluation.survey")
        others = images.table.index.symmetric_difference(found.table.index)
        if len(others.difference(found.problems["name"])):
            raise ValueError("found= is a survey of other images; leave it out")
        if embeddings is not None and "distance" not in found.table:
            raise ValueError("found= was made without embeddings; leave it out")
    encoder = hasattr(embeddings, "transform") and not isinstance(embeddings, pd.DataFrame)
    if embeddings is None or encoder:
        return embeddings
    return checked_embeddings(embeddings, images.ids)
