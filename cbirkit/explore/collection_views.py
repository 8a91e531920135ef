"""What `CollectionExplorer` shows in each of its views, as plain data: for the page and for the picture of it alike."""

from dataclasses import dataclass

import numpy as np

from .collection_facts import told_filters
from .collection_tables import broken_table, class_table, size_tables
from .tile_grid import Tile

VIEWS = ("contact sheet", "copies", "near-copies", "outliers", "broken files", "classes", "sizes")
_AT_ONCE = ("contact sheet", "classes")  # views that need no survey
_SIZE = 160  # pixels of a thumbnail
_IN_GROUP = 24  # images of a group that are shown
_SAME_CUT = (
    16  # bits in which the hashes of two versions of one picture differ at most, if it was not cut
)
_ROWS = 50  # of a table on one page


@dataclass(frozen=True)
class Content:
    """One page of one view.

    Attributes
    ----------
    view : str
    told : str
        A sentence about all of it.
    where : str
        Which part of it is shown.
    groups : list of (heading, summary, list of Tile)
    tables : list of Table
    n_pages : int
    waits : bool
        Whether it will be there once all images have been looked at.
    """

    view: str
    told: str
    where: str = ""
    groups: tuple = ()
    tables: tuple = ()
    n_pages: int = 1
    waits: bool = False

    @property
    def ids(self):
        """list of str: what is shown, in order; the names of broken files."""
        if self.view == "broken files":
            return [row[0] for table in self.tables for row in table.rows]
        return [tile.id for _, _, tiles in self.groups for tile in tiles]


@dataclass(frozen=True)
class Asked:
    """What is to be shown: filters as for `Facts.mask`, and the order."""

    view: str = "contact sheet"
    page: int = 1
    filters: tuple = ()  # of (column, value)
    containing: str = ""
    sort_by: str | None = None


class CollectionViews:
    """Makes the contents of the views.

    Parameters
    ----------
    facts : Facts
    thumbnails : ThumbnailCache
    page_size : int
        Images on a page; a twelfth as many groups.
    """

    def __init__(self, facts, thumbnails, page_size):
        self._facts, self._thumbnails, self._page_size = facts, thumbnails, page_size
        self.found, self._of, self._kept = None, {}, (None, None)

    def learn(self, found):
        """Take over a `Survey`, and which groups each image belongs to."""
        self._facts.learn(found)
        self.found, self._kept = found, (None, None)
        self._of = {
            name: {one: group for group in groups for one in group}
            for name, groups in (("copies", found.copies), ("near-copies", found.near_copies))
        }

    def alike(self, view, image_id):
        """The other images of a group of "copies" or "near-copies" that an image belongs to, as list of ids."""
        return [one for one in self._of.get(view, {}).get(image_id, []) if one != image_id]

    @property
    def told(self):
        """What was found, in a sentence."""
        found = self.found
        return (
            f"{_count(len(found.table), 'image')} can be read, {_count(len(found.problems), 'file')} cannot; "
            f"{_count(len(found.copies), 'group')} of copies, {len(found.near_copies):,} of near-copies."
        )

    def options(self):
        """list of (words with the number, view)."""
        images, found = self._facts.images, self.found
        counts = {
            "contact sheet": len(images),
            "classes": len(self._facts.counts("label", np.ones(len(images), bool))),
        }
        if found is not None:
            counts |= {"copies": len(found.copies), "near-copies": len(found.near_copies)}
            counts |= {"broken files": len(found.problems), "sizes": len(_sizes(found))}
            counts |= {"outliers": len(found.outliers)} if "distance" in found.table else {}
        waiting = ["…" if found is None and view not in _AT_ONCE else "none" for view in VIEWS]
        if found is not None and "distance" not in found.table:
            waiting[VIEWS.index("outliers")] = "no embeddings"
        return [
            (f"{view} ({counts[view]:,})" if counts.get(view) else f"{view} ({other})", view)
            for view, other in zip(VIEWS, waiting, strict=True)
        ]

    def kept(self, asked):
        """Positions of the images that pass the filters, in order."""
        key = asked.filters, asked.containing, asked.sort_by
        if self._kept[0] != key:
            keep = self._facts.mask(dict(asked.filters), asked.containing)
            order = self._facts.order(asked.sort_by)
            self._kept = key, order[keep[order]]
        return self._kept[1]

    def content(self, asked, progress=""):
        """The `Content` of what is asked for; ValueError for a page that is not there."""
        kept = self.kept(asked)
        if self.found is None and asked.view not in _AT_ONCE:
            return Content(
                asked.view,
                f"{titled(asked.view)}: all images must be looked at first.",
                progress,
                waits=True,
            )
        make = {
            "contact sheet": self._sheet, "copies": self._copies, "near-copies": self._near_copies,
            "outliers": self._outliers, "broken files": self._broken, "classes": self._classes, "sizes": self._sizes,
        }[asked.view]  # fmt: skip
        words = told_filters(dict(asked.filters), asked.containing)
        return make(asked, kept, f" with {words}" if words else "")

    # ------------------------------------------------------------------ one image after the other

    def _sheet(self, asked, kept, filtered):
        part, where, n_pages = paged(kept, asked.page, self._page_size, "images")
        told = f"Contact sheet of {_count(len(kept), 'image')}{filtered}."
        return Content(
            asked.view,
            told,
            where,
            ((("", "", self._tiles(part, asked.sort_by)),)),
            n_pages=n_pages,
        )

    def _outliers(self, asked, kept, filtered):
        if "distance" not in self.found.table:
            told = "Outliers need embeddings: pass one row an image, or an encoder, as embeddings=."
            return Content(asked.view, told, "not looked for")
        outliers = self._among(self.found.outliers, kept)
        part, where, n_pages = paged(outliers, asked.page, self._page_size, "images")
        median = self.found.table["distance"].median()
        told = f"{_count(len(outliers), 'outlier')}{filtered}, the farthest from their nearest neighbours first; "
        told += f"the median distance is {median:.3f}."
        if not len(outliers) and filtered:
            told = (
                f"None of the {len(self.found.outliers)} outliers is among the images{filtered}; "
            )
            told += "sort the contact sheet by distance to see the farthest of those."
        ranks = range(1 + (asked.page - 1) * self._page_size, 1 + len(outliers))
        tiles = self._tiles(part, "distance", ranks)
        return Content(asked.view, told, where, (("", "", tiles),), n_pages=n_pages)

    def _among(self, ids, kept):
        positions, passed = self._facts.images.positions(ids), set(kept.tolist())
        return np.array([i for i in positions.tolist() if i in passed], dtype=np.int64)

    def _tiles(self, positions, sort_by, ranks=None):
        """A tile for each image; its note is the value that they are sorted by."""
        ids = self._facts.images.ids[positions]
        column = self._facts.sorted_column(sort_by)
        pictures = self._thumbnails.get(self._facts.images, ids, _SIZE)
        ranks = [None] * len(ids) if ranks is None else ranks
        return [
            self._tile(
                str(i), picture, at, "" if column == "label" else self._note(column, at), rank
            )
            for i, picture, at, rank in zip(ids, pictures, positions, ranks, strict=False)
        ]

    def _tile(self, image_id, picture, at, note, rank=None, caption=None):
        label, size, far = (
            self._facts.text("label", at),
            self.size(at),
            self._note("distance", at),
        )
        words = [
            label,
            size and f"{size} pixels",
            far and f"distance {far}",
            "" if picture else "cannot be read",
        ]
        told = ", ".join(filter(None, [image_id, *words]))
        caption = (label or _tail(image_id)) if caption is None else caption
        return Tile(image_id, picture, told, caption, note, told, rank)

    def _note(self, column, at):
        if column == "pixels":
            return self.size(at)
        text = "" if column in (None, "id") else self._facts.text(column, at)
        return f"{float(text):.3f}" if text and column == "distance" else text

    def size(self, at):
        """Width and height of one image in words, once they are known."""
        width, height = self._facts.text("width", at), self._facts.text("height", at)
        return f"{width} × {height}" if self.found is not None and width else ""

    # ------------------------------------------------------------------ groups side by side

    def _copies(self, asked, kept, filtered):
        groups = self._groups(self.found.copies, kept)
        told = f"{_count(len(groups), 'group')} of copies: the same bytes."
        told = told if self.found.copies else "No two files hold the same bytes."
        return self._grouped(asked, groups, ["the same bytes"] * len(groups), told, filtered)

    def _near_copies(self, asked, kept, filtered):
        bits = self.found.near_bits or [None] * len(self.found.near_copies)
        groups = self._groups(
            list(zip(self.found.near_copies, bits, strict=True)), kept, lambda pair: pair[0]
        )
        meanings = ["alike" if n is None else _apart(n) for _, n in groups]
        told = f"{_count(len(groups), 'group')} of images that look alike, pixel for pixel; look before you delete."
        told = told if self.found.near_copies else "No two images look alike, pixel for pixel."
        return self._grouped(asked, [group for group, _ in groups], meanings, told, filtered)

    def _groups(self, groups, kept, ids_of=lambda group: group):
        """Those groups of which at least one image is kept."""
        passed = set(self._facts.images.ids[kept])
        return [group for group in groups if not passed.isdisjoint(ids_of(group))]

    def _grouped(self, asked, groups, meanings, told, filtered):
        if filtered and told[0].isdigit():
            told = (
                f"{told[:-1]}, at least one of each{filtered}."
                if groups
                else f"No group of {asked.view} has an image{filtered}."
            )
        per_page = max(1, self._page_size // 12)
        part, where, n_pages = paged(range(len(groups)), asked.page, per_page, "groups")
        shown = [
            self._group(groups[i], f"Group {i + 1:,} of {len(groups):,}", meanings[i]) for i in part
        ]
        return Content(asked.view, told, where, tuple(shown), n_pages=n_pages)

    def _group(self, ids, name, meaning):
        """Heading, summary and tiles of one group."""
        at = self._facts.images.positions(ids)
        pixels = self._facts.table["pixels"].to_numpy()[at]
        heading = f"{name}: {len(ids):,} images, {meaning}"
        summary = [f"all {self.size(at[0])}" if len(set(map(self.size, at))) == 1 else ""]
        if pixels.max() > pixels.min():
            summary = [
                f"the largest is {ids[int(pixels.argmax())]}, {self.size(at[int(pixels.argmax())])}"
            ]
        for column in ("label", "split"):
            texts = list(dict.fromkeys(self._facts.text(column, i) or "none" for i in at))
            summary += [f"{column}s differ: {', '.join(texts[:6])}"] if len(texts) > 1 else []
        if len(ids) > _IN_GROUP:
            summary.append(f"{_IN_GROUP} of them are shown")
        pictures = self._thumbnails.get(self._facts.images, ids[:_IN_GROUP], _SIZE)
        tiles = [
            self._tile(i, picture, where, self.size(where), caption=_tail(i))
            for i, picture, where in zip(ids, pictures, at, strict=False)
        ]
        return heading, "; ".join(filter(None, summary)), tiles

    # ------------------------------------------------------------------ tables

    def _broken(self, asked, _kept, _filtered):
        part, where, n_pages = paged(range(len(self.found.problems)), asked.page, _ROWS, "files")
        table = broken_table(self.found.problems.iloc[part.start : part.stop])
        n = len(self.found.problems)
        told = (
            f"{_count(n, 'file')} that cannot be read, with the reason."
            if n
            else "Every file can be read."
        )
        return Content(asked.view, told, where, tables=(table,) if n else (), n_pages=n_pages)

    def _classes(self, asked, kept, filtered):
        keep = np.zeros(len(self._facts.table), dtype=bool)
        keep[kept] = True
        counts = self._facts.counts("label", keep)
        part, where, n_pages = paged(counts, asked.page, _ROWS, "classes")
        told, table = class_table(counts, part, len(kept), filtered)
        return Content(asked.view, told, where, tables=table, n_pages=n_pages)

    def _sizes(self, asked, kept, filtered):
        told, tables = size_tables(self._facts.table.iloc[kept], filtered)
        return Content(asked.view, told, tables=tables)


def titled(view):
    """A view's name as a heading."""
    return view[0].upper() + view[1:]


def paged(items, page, per_page, what):
    """The items of a page (from 1), which they are in words, and how many pages there are; ValueError where there is none."""
    n_pages = max(1, -(-len(items) // per_page))
    if not 1 <= page <= n_pages:
        raise ValueError(f"there is no page {page}; pages are 1 to {n_pages}")
    part = items[(page - 1) * per_page : page * per_page]
    first = (page - 1) * per_page
    if not len(items):
        return part, "none", n_pages
    where = f"{first + 1:,} to {first + len(part):,} of {len(items):,} {what}"
    if n_pages == 1:
        where = f"{len(items):,} {what}" if len(items) > 1 else ""
    return part, where, n_pages


def _sizes(found):
    return found.table[["width", "height"]].drop_duplicates()


def _count(number, one):
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _tail(image_id):
    """The last part of a name."""
    return image_id.rsplit("/", 1)[-1]


def _apart(bits):
    """What the hashes of a group's images say: beyond a few bits they are other cuts of one picture."""
    return (
        f"hashes differ in up to {bits} of 128 bits"
        if bits <= _SAME_CUT
        else "shifted, or cut out differently"
    )
