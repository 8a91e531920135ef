"""`ImagePicker`: pages of thumbnails to choose an image from."""

import numpy as np
import pandas as pd
from ipywidgets import Box, Button, Dropdown, Label, Layout, Text, VBox
from sklearn.utils import check_random_state

from ..images.tables import text_of
from .tile_grid import Tile, TileGrid

_SIZE = 120  # pixels of a thumbnail
_MOST_LABELS = 1000  # a longer list helps nobody: the field for names finds labels too


class ImagePicker(VBox):
    """Thumbnails of a collection, a page at a time; by label, by part of a name, in order or shuffled.

    Parameters
    ----------
    images : ImageCollection
    thumbnails : ThumbnailCache
    column : str, optional
        Whose values images can be filtered by.
    page_size : int
    random_state : int or RandomState
        Of the shuffling.

    Examples
    --------
    >>> from cbirkit.explore import ThumbnailCache
    >>> from cbirkit.images import ImageCollection
    >>> images = ImageCollection.from_arrays(np.zeros((5, 8, 8)), labels=list("aabbb"))
    >>> picker = ImagePicker(images, ThumbnailCache(), column="label", page_size=2)
    >>> picker.filter(label="b")
    >>> picker.grid.ids
    ['2', '3']
    """

    def __init__(self, images, thumbnails, *, column=None, page_size=24, random_state=0):
        self.images = images
        self.page_size = page_size
        self._thumbnails = thumbnails
        self._random = check_random_state(random_state)
        self._column = column if column in images.table else None
        self._kept = self._order = np.arange(len(images))
        self._page = 0
        self.grid = TileGrid(tile_size=84)
        self._labels = self._label_menu()
        self._name = Text(
            placeholder="part of a name", continuous_update=False, layout=Layout(width="150px")
        )
        self._name.observe(lambda _change: self._refilter(), "value")
        self._labels.observe(lambda _change: self._refilter(), "value")
        self._previous = _button("Previous", "The pictures before these", lambda: self.turn(-1))
        self._next = _button("Next", "The pictures after these", lambda: self.turn(1))
        shuffle = _button("Shuffle", "Another order", self.shuffle)
        self._where = Label()
        title = Label("Pick a query")
        title.add_class("cbk-title")
        row = Box(
            [title, self._labels, self._name, self._previous, self._next, shuffle, self._where]
        )
        row.add_class("cbk-row")
        super().__init__([row, self.grid])
        self.add_class("cbk-picker")
        self._draw()

    @property
    def page(self):
        """Number of the page shown, from 0."""
        return self._page

    @property
    def n_pages(self):
        return max(1, -(-len(self._kept) // self.page_size))

    def turn(self, by):
        """Go `by` pages on (or back, where negative), as far as there are pages."""
        self._page = int(np.clip(self._page + by, 0, self.n_pages - 1))
        self._draw()

    def shuffle(self):
        """Show the images in another order."""
        self._order = self._random.permutation(len(self.images))
        self._refilter()

    def filter(self, *, label=None, name=""):
        """Keep images with a label (None: any) whose id or label holds the text `name`."""
        texts = self._texts()
        known = [] if texts is None else pd.unique(texts)
        if label is not None and text_of(label) not in known:
            raise ValueError(
                f"no image has the label {label!r}; there are: {', '.join(map(str, known[:20])) or 'none'}"
            )
        keep = np.ones(len(self.images), dtype=bool)
        if label is not None:
            keep &= texts == text_of(label)
        if name:
            found = (
                pd.Series(self.images.ids)
                .str.contains(name, case=False, regex=False)
                .to_numpy(bool)
            )
            if texts is not None:
                found = found | pd.Series(texts).str.contains(
                    name, case=False, regex=False
                ).to_numpy(bool)
            keep &= found
        self._kept = self._order[keep[self._order]]
        self._page = 0
        self._draw()

    def _texts(self):
        """Labels as text, "" where missing; None without a column."""
        if self._column is None:
            return None
        return self.images.table[self._column].map(text_of).to_numpy(dtype=object)

    def _label_menu(self):
        texts = self._texts()
        counts = (
            pd.Series([], dtype=int)
            if texts is None
            else pd.Series(texts).value_counts().sort_index()
        )
        counts = counts[counts.index != ""]
        options = [(f"all {len(self.images):,} images", None)]
        options += [(f"{label} ({count:,})", label) for label, count in counts.items()]
        menu = Dropdown(options=options[: _MOST_LABELS + 1], layout=Layout(width="180px"))
        menu.tooltip = "Only images with this label"
        menu.layout.display = "none" if len(counts) < 2 or len(counts) > _MOST_LABELS else None
        return menu

    def _refilter(self):
        self.filter(label=self._labels.value, name=self._name.value.strip())

    def _draw(self):
        first = self._page * self.page_size
        shown = self.images.ids[self._kept[first : first + self.page_size]]
        texts = self._texts()
        pictures = self._thumbnails.get(self.images, shown, _SIZE)
        labels = [""] * len(shown) if texts is None else texts[self.images.positions(shown)]
        self.grid.show(
            Tile(
                i,
                picture,
                alt=f"query {i}" + (f", {label}" if label else ""),
                title=f"{i}\n{label}".strip(),
            )
            for i, picture, label in zip(shown, pictures, labels, strict=True)
        )
        last = first + len(shown)
        self._where.value = (
            f"{first + 1:,} to {last:,} of {len(self._kept):,}" if last else "nothing found"
        )
        self._previous.disabled, self._next.disabled = (
            self._page == 0,
            self._page + 1 >= self.n_pages,
        )


def _button(text, tooltip, action):
    button = Button(description=text, tooltip=tooltip, layout=Layout(width="auto"))
    button.on_click(lambda _button: action())
    return button
