"""Controls that choose images: `FilterRow`, and `ImagePicker`, pages of thumbnails to pick a query from."""

import numpy as np
from ipywidgets import Box, Dropdown, Label, Text, VBox

from cbirkit.datasets.facts import Facts

from .collection_views import paged
from .widgets import Controls, Pager, TileGrid, button, labelled, reveal


class FilterRow(Controls, Box):
    """A menu of values, a field for a part of a name; and, without a fixed column, menus of columns and of orders.

    Parameters
    ----------
    facts : Facts
    on_change : callable
        ``on_change(filters, containing, sort_by)`` when a control is used; filters as tuple of (column, value).
    column : str, optional
        The only one to filter by; "" for none.
    """

    def __init__(self, facts, on_change, column=None):
        self._facts, self._on_change = facts, on_change
        self._fixed, self._values = column, []
        self._column, self._sort = (Dropdown(description=one) for one in ("only", "order"))
        labelled(self._column, "Column to choose images by", width="200px", label="36px")
        labelled(self._sort, "Order of the images", width="220px", label="36px")
        self._value = labelled(Dropdown(), "Value that the images shown have", width="170px")
        self._name = Text(placeholder="part of a name", continuous_update=False)
        labelled(self._name, "What names or labels of the images shown hold", width="130px")
        self._all = button("Show all", "Take all filters off", self._clear)
        shown = [self._column, self._value, self._name, self._all, self._sort]
        super().__init__(shown if column is None else shown[1:3])
        self.add_class("cbk-row")
        self.show((), "", None)
        self._on_value([self._column], self._on_column)
        self._on_value([self._value, self._name, self._sort], self._tell)

    def show(self, filters, containing, sort_by, *, filtering=True, sorting=True):
        """Set the controls, without telling anybody; several filters at once have no place in the menus.

        Without a filter the column stays that was chosen, for a value of it may be chosen next.
        """
        columns = self._facts.choices if self._fixed is None else [self._fixed] * bool(self._fixed)
        column = self._fixed or (self._column.value if not filters else "") or ""
        value = None
        if len(filters) == 1 and filters[0][0] in columns:
            column, value = filters[0]
        with self._quietly():
            _set(self._column, [("all images", ""), *((name, name) for name in columns)], column)
            self._offer_values(column)
            if filters and value in self._values[1:]:
                self._value.value = self._values.index(value, 1)
            self._name.value = containing
            _set(self._sort, self._orders(sort_by), sort_by or "")
        self._all.disabled = not filters and not containing and not column
        reveal(filtering, self._column, self._all, self._name)
        reveal(filtering and column, self._value)
        reveal(sorting, self._sort)

    def _offer_values(self, column):
        offered = self._facts.values(column) if column else []
        self._values = [None, *(value for _, value in offered)]
        words = ["any value", *(words for words, _ in offered)]
        _set(self._value, [(one, i) for i, one in enumerate(words)], 0)
        reveal(column, self._value)

    def _orders(self, sort_by):
        measured = [name for name in ("pixels", "distance") if name in self._facts.table]
        orders = [("as given", "")]
        for name in dict.fromkeys(["id", *measured, *self._facts.choices]):
            orders += [(f"by {name}", name), (f"by {name}, descending", f"-{name}")]
        return orders + [(sort_by, sort_by)] * ((sort_by or "") not in dict(orders).values())

    def _on_column(self):
        with self._quietly():
            self._offer_values(self._column.value)
        self._tell()

    def _clear(self):
        with self._quietly():
            self._column.value = ""
        self._on_change((), "", self._sort.value or None)

    def _tell(self):
        at, column = self._value.value, self._column.value
        filters = ((column, self._values[at]),) if at else ()  # the first is "any value"
        self._on_change(filters, self._name.value.strip(), self._sort.value or None)


def _set(menu, options, value):
    if menu.options != tuple(options):
        menu.options = options
    menu.value = value


class ImagePicker(VBox):
    """Thumbnails of a collection, a page at a time; by label, by part of a name, in order or shuffled.

    Parameters
    ----------
    images : ImageCollection
    thumbnails : ThumbnailCache
    on_pick : callable
        ``on_pick(id)`` when one is clicked.
    column : str, optional
        Whose values images can be filtered by.
    page_size : int

    Examples
    --------
    >>> from cbirkit.explore.queries import ThumbnailCache
    >>> from cbirkit.images import ImageCollection
    >>> images = ImageCollection.from_arrays(np.zeros((5, 8, 8)), labels=list("aabbb"))
    >>> picker = ImagePicker(images, ThumbnailCache(), print, column="label", page_size=2)
    >>> picker.turn(2)
    >>> picker.grid.ids
    ['2', '3']
    """

    def __init__(self, images, thumbnails, on_pick, *, column=None, page_size=24):
        self.images, self._thumbnails, self._page_size = images, thumbnails, page_size
        self._facts, self._random = Facts(images), np.random.RandomState(0)
        self._kept = self._order = np.arange(len(images))
        self._column = column if column in images.table else ""
        offered = self._column if self._column in self._facts.choices else ""
        self.grid = TileGrid(tile_size=84).on("pick", on_pick)
        self.pager, self._where = Pager(self.turn), Label()
        self._filters = FilterRow(self._facts, self._keep, offered)
        title = Label("Pick a query").add_class("cbk-title")
        shuffle = button("Shuffle", "Another order", self.shuffle)
        row = Box([title, self._filters, self.pager, shuffle, self._where])
        super().__init__([row.add_class("cbk-row"), self.grid])
        self.add_class("cbk-picker")
        self.turn(1)

    def turn(self, page):
        """Show a page, from 1."""
        shown, where, n_pages = paged(self._kept, page, self._page_size, "images")
        labels = [self._facts.text(self._column, at) for at in shown]
        self.grid.show(self._thumbnails.tiles(self.images, self.images.ids[shown], labels, "query"))
        self.pager.show(page, n_pages)
        self._where.value = where

    def shuffle(self):
        """Show the images in another order."""
        self._order = self._random.permutation(len(self.images))
        self._kept = self._order[np.isin(self._order, self._kept)]
        self.turn(1)

    def _keep(self, filters, name, _sort_by=None):
        keep = self._facts.mask(dict(filters), name)
        self._kept = self._order[keep[self._order]]
        self.turn(1)
