"""`CollectionExplorer`: the first look at a collection: its pictures, copies, outliers, broken files, classes and sizes."""

from dataclasses import replace
from threading import RLock

from ipywidgets import Box, Label, Layout

from .choice_row import ChoiceRow
from .collection_controls import FilterRow
from .collection_detail import Detail
from .collection_facts import Facts, told_filters
from .collection_page import Page
from .collection_picture import draw_content
from .collection_survey import BackgroundSurvey, checked_input
from .collection_views import VIEWS, Asked, CollectionViews
from .explorer import Explorer
from .queries import query_of
from .status_line import StatusLine
from .thumbnails import ThumbnailCache

_OUTLIERS = 12  # at least, and one in a hundred images, up to a page


class CollectionExplorer(Explorer):
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
        embeddings = checked_input(images, embeddings, found, page_size)
        self.images, self._linked, self._callbacks, self._lock = images, None, [], RLock()
        self._facts = Facts(images)
        self._with_embeddings = embeddings is not None or (
            found is not None and "distance" in found.table
        )
        self._facts.check_sorting(sort_by, with_embeddings=self._with_embeddings)
        self._thumbnails = ThumbnailCache()
        self._views = CollectionViews(self._facts, self._thumbnails, int(page_size))
        self._asked, self._given = Asked(sort_by=sort_by), found
        n_outliers = min(int(page_size), max(_OUTLIERS, len(images) // 100))
        how = {"n_outliers": n_outliers, "on_progress": self._on_progress, "on_end": self._on_end}
        self._survey = BackgroundSurvey(images, embeddings, **how)
        self._make_parts()
        super().__init__(self._arranged())
        self.add_class("cbk-explorer").add_class("cbk-collection")
        self._show(self._asked)
        self._connect()
        if found is not None:
            self._learn(found)
        elif self._survey.start():
            self._survey.wait(None)

    # ------------------------------------------------------------------ for use from Python

    @property
    def found(self):
        return self._views.found

    @property
    def view(self):
        return self._asked.view

    @view.setter
    def view(self, view):
        if view not in VIEWS:
            raise ValueError(f"there is no view {view!r}; there are: {', '.join(VIEWS)}")
        self._show(replace(self._asked, view=view, page=1))

    @property
    def page(self):
        return self._asked.page

    @page.setter
    def page(self, page):
        self._show(replace(self._asked, page=page))

    @property
    def n_pages(self):
        """Pages of the present view."""
        return self._content.n_pages

    @property
    def shown(self):
        """Ids of the images on this page, in order, as list of str; in "broken files" their names."""
        return list(self._content.ids)

    @property
    def kept(self):
        """Ids of all images that pass the filters, in the order of the contact sheet, as list of str."""
        return [str(i) for i in self.images.ids[self._views.kept(self._asked)]]

    @property
    def sort_by(self):
        return self._asked.sort_by

    @sort_by.setter
    def sort_by(self, sort_by):
        self._facts.check_sorting(sort_by, with_embeddings=self._with_embeddings)
        self._show(replace(self._asked, sort_by=sort_by, page=1))

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
        self._show(
            replace(self._asked, filters=tuple(columns.items()), containing=containing, page=1)
        )

    def clear_filter(self):
        """Show all images again."""
        self.filter()

    @property
    def selected(self):
        return self._detail.image_id

    @selected.setter
    def selected(self, image_id):
        self._select(int(self.images.positions([image_id])[0]))

    def on_pick(self, callback):
        """Call ``callback(id)`` when a picture is clicked."""
        self._callbacks.append(callback)

    def link(self, explorer):
        """Ask a `QueryExplorer` for every picture that is clicked; returns this explorer."""
        if not callable(getattr(explorer, "search", None)) or not hasattr(explorer, "queries"):
            raise TypeError(f"link expects a QueryExplorer, got {type(explorer).__name__}")
        self._linked = explorer
        return self

    def wait(self, timeout=None):
        """Wait until all images have been looked at, and return the explorer; TimeoutError after `timeout` seconds.

        What went wrong in the thread is raised here, such as a ValueError if no image can be read.
        """
        if self._given is None:
            self._survey.wait(timeout)
        return self

    def static(self):
        """The present view as a picture, for places that run no JavaScript.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return draw_content(self._content)

    def close(self):
        """Take the explorer off the page, and stop looking at images."""
        if hasattr(self, "_survey"):  # not if its arguments were refused
            self._survey.stop()
        super().close()

    def __repr__(self):
        where = f"{self.view}, page {self.page} of {self.n_pages}"
        return f"CollectionExplorer({self.images.name!r}, {len(self.images):,} images, {where})"

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self):
        self._status, self._progress = StatusLine(), Label(layout=Layout(display="none"))
        self._menu = ChoiceRow(self._views.options(), name="view")
        self._filters, self._page = FilterRow(self._facts), Page()
        self._detail = Detail(self._facts, self._views, self._thumbnails)

    def _arranged(self):
        columns = Box([self._detail, self._page]).add_class("cbk-columns")
        return [self._menu, self._filters, self._status, self._progress, columns]

    def _connect(self):
        self._menu.on_choose(lambda view: self._guard(setattr, self, "view", view))
        self._filters.on_change(lambda *chosen: self._guard(self._refilter, *chosen))
        self._page.pager.on_turn(lambda page: self._guard(setattr, self, "page", page))
        self._page.on_pick(lambda image_id: self._guard(self._pick, image_id))
        self._page.on_pick_row(lambda which, row: self._guard(self._pick_row, which, row))

    # ------------------------------------------------------------------ events

    def _refilter(self, filters, containing, sort_by):
        self._show(
            replace(self._asked, filters=filters, containing=containing, sort_by=sort_by, page=1)
        )

    def _pick(self, image_id):
        self._select(int(self.images.positions([image_id])[0]))
        for callback in self._callbacks:
            callback(image_id)
        if self._linked is not None:
            self._linked.search(query_of(image_id, self.images, self._linked.queries))

    def _select(self, at):
        self._detail.show(at)
        self._page.mark(self.selected)
        self._status.say(self._detail.told)

    def _pick_row(self, which, row):
        """A class or size: show its images."""
        filters = self._content.tables[which].filters[row]
        kept = {column: value for column, value in self._asked.filters if column not in filters}
        self._show(
            Asked(
                "contact sheet",
                1,
                tuple({**kept, **filters}.items()),
                self._asked.containing,
                self._asked.sort_by,
            )
        )

    # ------------------------------------------------------------------ the survey, in its thread; showing

    def _on_progress(self):
        with self._lock:
            self._tell_progress(self._survey.told[0].upper() + self._survey.told[1:])
            if self._content.waits:
                self._show(self._asked, say=False)

    def _on_end(self):
        if self._survey.found is not None:
            self._guard(self._learn, self._survey.found)
            return
        with self._lock:
            self._tell_progress("")
            self._show(self._asked, say=False)
            self._status.say(
                f"the images could not be looked at: {self._survey.failure}", problem=True
            )

    def _learn(self, found):
        with self._lock:
            self._views.learn(found)
            self._tell_progress("")
            self._menu.options = self._views.options()
            self._show(self._asked)
            self._detail.refresh()
            if self.view == VIEWS[0] and not self._asked.filters:
                self._status.say(self._views.told)

    def _tell_progress(self, text):
        self._progress.value = text
        self._progress.layout.display = None if text else "none"

    def _show(self, asked, *, say=True):
        """Make the content first, so that nothing changes on the page if that fails."""
        with self._lock:
            content = self._views.content(asked, self._survey.told)
            self._asked, self._content = asked, content
            self._menu.value = asked.view
            has_filters, has_order = asked.view != "broken files", asked.view == "contact sheet"
            how = {"filtering": has_filters, "sorting": has_order}
            self._filters.show(asked.filters, asked.containing, asked.sort_by, **how)
            self._page.show(
                content,
                asked.page,
                told_filters(dict(asked.filters), asked.containing) if has_filters else "",
            )
            self._page.mark(self.selected or "")
            if say:
                self._status.say(content.told)
