"""`Page`: one page of a view of a collection: pictures, groups in frames, or tables, below the buttons that turn it."""

from ipywidgets import Box, VBox

from .collection_views import titled
from .pager import Pager
from .text_table import TextTable
from .tile_grid import TileGrid

_TABLES = 3  # at most, in a view


class Page(VBox):
    """Shows a `Content`. Its parts are kept and filled anew, so that focus and scroll position stay.

    Attributes
    ----------
    pager : Pager
    grids : list of TileGrid
        The contact sheet, and the groups shown so far.
    tables : list of TextTable
    """

    def __init__(self):
        self.pager, self.tables = Pager(), [TextTable() for _ in range(_TABLES)]
        self.grids = [TileGrid(tile_size=108).add_class("cbk-sheet")]
        self._lists, self._callbacks = Box(self.grids).add_class("cbk-lists"), []
        self.grids[0].on_pick(self._tell)
        super().__init__([self.pager, self._lists])

    def on_pick(self, callback):
        """Call ``callback(id)`` when a picture is clicked."""
        self._callbacks.append(callback)

    def on_pick_row(self, callback):
        """Call ``callback(table, row)`` with two numbers when a row of a table is picked."""
        for which, table in enumerate(self.tables):
            table.on_pick(lambda row, which=which: callback(which, row))

    def mark(self, image_id):
        """Mark the picture with this id, if it is shown; "" for none."""
        for grid in self.grids:
            grid.selected = image_id

    def show(self, content, page, filters):
        """Show the content of a page; `filters` are words."""
        self.pager.show(page, content.n_pages)
        single = [tiles for heading, _, tiles in content.groups if not heading]
        summary = ", ".join(filter(None, (content.where, filters)))
        self.grids[0].show(
            single[0] if single else [], heading=titled(content.view), summary=summary
        )
        groups = self._show_groups([group for group in content.groups if group[0]])
        for widget, table in zip(self.tables, content.tables, strict=False):
            how = {"shares": table.shares, "pickable": [bool(one) for one in table.filters]}
            widget.show(table.rows, caption=table.caption, columns=table.columns, **how)
        (self._lists.add_class if content.tables else self._lists.remove_class)("cbk-tables")
        shown = (self.grids[0], *groups, *self.tables[: len(content.tables)])
        if self._lists.children != shown:
            self._lists.children = shown

    def _show_groups(self, groups):
        """The grids that show the groups, made where there are not enough yet."""
        while len(self.grids) < 1 + len(groups):
            self.grids.append(TileGrid(tile_size=160).add_class("cbk-group"))
            self.grids[-1].on_pick(self._tell)
        shown = self.grids[1 : 1 + len(groups)]
        for grid, (name, words, tiles) in zip(shown, groups, strict=True):
            grid.show(tiles, heading=name, summary=words)
        return shown

    def _tell(self, image_id):
        for callback in self._callbacks:
            callback(image_id)
