"""What `CollectionExplorer` shows in each of its views, as plain data: for the page and for the picture of it alike."""

import itertools
from dataclasses import dataclass

import numpy as np

from cbirkit.datasets.facts import bin_edges, told
from cbirkit.encoders.base import check_choice
from cbirkit.plots import Section, Table, Tile, View

from .queries import THUMBNAIL

VIEWS = ("contact sheet", "copies", "near-copies", "outliers", "broken files", "classes", "sizes")
_AT_ONCE = ("contact sheet", "classes")  # views that need no survey
_IN_GROUP = 24  # images of a group that are shown
_SAME_CUT = 16  # bits in which hashes of two versions of a picture that was not cut may differ
_ROWS = 50  # of a table on one page
_MOST_SIZES = 20  # in the table of frequent sizes, on one page


@dataclass(frozen=True)
class ViewRequest:
    """What is to be shown: filters as for `Facts.mask`, and the order."""

    view: str = VIEWS[0]
    page: int = 1
    filters: tuple = ()  # of (column, value)
    containing: str = ""
    sort_by: str | None = None

    @property
    def filtered(self):
        """The filters in words."""
        parts = [f"{name} {told(value) or 'without a value'}" for name, value in self.filters]
        return ", ".join(parts + [f'"{self.containing}" in the name'] * bool(self.containing))


@dataclass(frozen=True)
class CollectionView(View):
    """One page of one view.

    Attributes
    ----------
    where : str
        Which part of it is shown.
    n_pages : int
    waits : bool
        Whether it will be there once all images have been looked at.
    """

    where: str = ""
    n_pages: int = 1
    waits: bool = False

    @property
    def ids(self):
        """list of str: what is shown, in order; the names of broken files."""
        ids = [tile.id for section in self.sections for tile in section.tiles]
        broken = self.title == "Broken files" and self.sections
        return [row[0] for row in self.sections[0].table.rows] if broken else ids


class CollectionViews:
    """Makes the contents of the views.

    Parameters
    ----------
    facts : Facts
    thumbnails : ThumbnailCache
    page_size : int
        Images on a page; a twelfth as many groups, `n_groups`.
    """

    def __init__(self, facts, thumbnails, page_size):
        self._facts, self._thumbnails, self._page_size = facts, thumbnails, page_size
        self.n_groups = max(1, page_size // 12)
        self.found, self._of, self._kept = None, {}, (None, None)

    def learn(self, found):
        """Take over a `Survey`, and which groups each image belongs to."""
        self._facts.learn(found)
        self.found, self._kept = found, (None, None)
        for name, groups in (("copies", found.copies), ("near-copies", found.near_copies)):
            self._of[name] = {one: group for group in groups for one in group}

    def alike(self, view, image_id):
        """The other images of a group of "copies" or "near-copies" that an image belongs to, as list of ids."""
        return [one for one in self._of.get(view, {}).get(image_id, []) if one != image_id]

    @property
    def told(self):
        """What was found, in a sentence."""
        found = self.found
        read, not_read = _count(len(found.table), "image"), _count(len(found.problems), "file")
        groups = f"{_count(len(found.copies), 'group')} of copies, {len(found.near_copies):,} of near-copies"
        return f"{read} can be read, {not_read} cannot; {groups}."

    def options(self):
        """list of (words with the number, view)."""
        facts, found = self._facts, self.found
        counts = dict.fromkeys(VIEWS, "…") | {VIEWS[0]: len(facts.images)}
        counts["classes"] = len(facts.counts("label"))
        if found is not None:
            counts |= {"copies": len(found.copies), "near-copies": len(found.near_copies)}
            counts |= {"outliers": len(found.outliers), "broken files": len(found.problems)}
            counts["sizes"] = len(found.table[["width", "height"]].drop_duplicates())
            if "distance" not in found.table:
                counts["outliers"] = "no embeddings"
        words = [n if isinstance(n, str) else f"{n:,}" if n else "none" for n in counts.values()]
        return [(f"{view} ({n})", view) for view, n in zip(counts, words, strict=True)]

    def kept(self, asked):
        """Positions of the images that pass the filters, in order."""
        key = asked.filters, asked.containing, asked.sort_by
        if self._kept[0] != key:
            keep = self._facts.mask(dict(asked.filters), asked.containing)
            order = self._facts.order(asked.sort_by)
            self._kept = key, order[keep[order]]
        return self._kept[1]

    def content(self, asked, progress=""):
        """The `CollectionView` of what is asked for; ValueError for a page that is not there."""
        check_choice("view", asked.view, VIEWS)
        kept = self.kept(asked)
        if self.found is None and asked.view not in _AT_ONCE:
            told = f"{asked.view.capitalize()}: all images must be looked at first."
            return CollectionView(asked.view.capitalize(), told, where=progress, waits=True)
        make = getattr(self, f"_{asked.view.replace(' ', '_').replace('-', '_')}")
        filtered = f" with {asked.filtered}" if asked.filtered else ""
        # A sentence, all that there is, how many of it on a page, and what makes sections of a page.
        told, (items, what), per_page, sections = make(asked, kept, filtered)
        part, *pages = paged(items, asked.page, per_page, what)
        sections = tuple(sections(part)) if len(items) else ()
        return CollectionView(asked.view.capitalize(), told, sections, None, *pages)

    # ------------------------------------------------------------------ one image after the other

    def _contact_sheet(self, asked, kept, filtered):
        told = f"Contact sheet of {_count(len(kept), 'image')}{filtered}."
        sheet = lambda part: [Section(tiles=self.tiles(part, asked.sort_by))]
        return told, (kept, "images"), self._page_size, sheet

    def _outliers(self, asked, kept, filtered):
        positions = self._facts.images.positions(self.found.outliers)
        outliers = positions[np.isin(positions, kept)]
        told = "Outliers need embeddings: pass one row an image, or an encoder, as embeddings=."
        if "distance" in self.found.table:
            median = self.found.table["distance"].median()
            told = f"{_count(len(outliers), 'outlier')}{filtered}, farthest from their neighbours first"
            told += f"; the median distance is {median:.3f}. "
            if not len(outliers) and filtered:
                told += "Sort the contact sheet by distance to see the farthest of these images."
        ranks = itertools.count(1 + (asked.page - 1) * self._page_size)
        sheet = lambda part: [Section(tiles=self.tiles(part, "distance", ranks))]
        return told, (outliers, "images"), self._page_size, sheet

    def tiles(self, positions, sort_by=None, ranks=None):
        """A tile for each image, as list; its note is the value that they are sorted by."""
        column = self._facts.sorted_column(sort_by)
        notes = [self._note(column, at) for at in positions]
        ranks = itertools.repeat(None) if ranks is None else ranks
        return list(map(self._tile, positions, self._pictures(positions), notes, ranks))

    def _pictures(self, positions):
        images = self._facts.images
        return self._thumbnails.get(images, images.ids[positions], THUMBNAIL)

    def _tile(self, at, picture, note, rank=None, caption=None):
        name, label = str(self._facts.images.ids[at]), self._facts.text("label", at)
        size, far = self.size(at), self._note("distance", at)
        words = [name, label, size and f"{size} pixels", far and f"distance {far}"]
        told = ", ".join(filter(None, [*words, "" if picture else "cannot be read"]))
        return Tile(name, picture, told, caption or label or _tail(name), note, told, rank)

    def _note(self, column, at):
        """What stands below a tile besides its label: the value in a column."""
        if column == "pixels":
            return self.size(at)
        text = "" if column in (None, "id", "label") else self._facts.text(column, at)
        return f"{float(text):.3f}" if text and column == "distance" else text

    def size(self, at):
        """Width and height of one image in words, once they are known."""
        width, height = self._facts.text("width", at), self._facts.text("height", at)
        return f"{width} × {height}" if self.found is not None and width else ""

    # ------------------------------------------------------------------ groups side by side

    def _copies(self, *asked):
        groups = [(ids, "the same bytes") for ids in self.found.copies]
        told = "copies: the same bytes", "No two files hold the same bytes."
        return self._grouped(groups, *told, *asked)

    def _near_copies(self, *asked):
        groups = list(zip(self.found.near_copies, map(_apart, self.found.near_bits), strict=True))
        told = "images that look alike, pixel for pixel; look before you delete"
        nothing = "No two images look alike, pixel for pixel."
        return self._grouped(groups, told, nothing, *asked)

    def _grouped(self, groups, told, nothing, asked, kept, filtered):
        """Those groups of which at least one image is kept."""
        passed = set(self._facts.images.ids[kept])
        shown = [one for one in groups if not passed.isdisjoint(one[0])]
        told = f"{_count(len(shown), 'group')} of {told}"
        told += f", at least one of each{filtered}." if filtered else "."
        if not shown:
            told = f"No group of {asked.view} has an image{filtered}." if groups else nothing
        named = [(*one, f"Group {i:,} of {len(shown):,}") for i, one in enumerate(shown, 1)]
        grouped = lambda part: itertools.starmap(self._group, part)
        return told, (named, "groups"), self.n_groups, grouped

    def _group(self, ids, meaning, name):
        at = self._facts.images.positions(ids)
        pixels, sizes = self._facts.table["pixels"].to_numpy()[at], [self.size(i) for i in at]
        largest = int(pixels.argmax())
        summary = [f"all {sizes[0]}" if len(set(sizes)) == 1 else ""]
        if pixels.max() > pixels.min():
            summary = [f"the largest is {ids[largest]}, {sizes[largest]}"]
        for column in ("label", "split"):
            texts = list(dict.fromkeys(self._facts.text(column, i) or "none" for i in at))
            summary += [f"{column}s differ: {', '.join(texts[:6])}"] if len(texts) > 1 else []
        summary += [f"{_IN_GROUP} of them are shown"] if len(ids) > _IN_GROUP else []
        shown = zip(at, self._pictures(at[:_IN_GROUP]), sizes, ids, strict=False)
        tiles = [self._tile(i, picture, size, None, _tail(one)) for i, picture, size, one in shown]
        heading = f"{name}: {len(ids):,} images, {meaning}"
        return Section(heading, "; ".join(filter(None, summary)), tiles)

    # ------------------------------------------------------------------ tables

    def _broken_files(self, _asked, _kept, _filtered):
        rows = list(self.found.problems[["name", "reason"]].astype(str).itertuples(index=False))
        told = f"{_count(len(rows), 'file')} that cannot be read, with the reason."
        why = "Why they cannot be read"
        listed = lambda part: [Section(why, table=Table(("file", "reason"), part))]
        return told if rows else "Every file can be read.", (rows, "files"), _ROWS, listed

    def _classes(self, _asked, kept, filtered):
        counts = self._facts.counts("label", kept)
        if not len(counts):
            told = "There are no labels: make one folder a class, or name a file of them as labels."
            told = f"No image{filtered} has a label." if filtered else told
            return told, (counts, "classes"), _ROWS, None
        total, most, least = int(counts.sum()), int(counts.iloc[0]), int(counts.iloc[-1])
        told = f"{_count(len(counts), 'class', 'classes')}{filtered}, the largest {counts.index[0]}"
        told += f" with {_count(most, 'image')}"
        told += f", {most / least:.3g} times the smallest" * (most > least)
        told += f"; {len(kept) - total:,} images have no label" if len(kept) > total else ""

        def listed(part):
            rows = [(str(name), f"{n:,}", f"{100 * n / total:.1f} %") for name, n in part.items()]
            filters = [{"label": name} for name in part.index]
            table = Table(("class", "images", "share"), rows, part.tolist(), filters, most)
            return [Section("Images of each class", table=table)]

        return f"{told}.", (counts, "classes"), _ROWS, listed

    def _sizes(self, _asked, kept, filtered):
        facts = self._facts.table.iloc[kept]
        facts = facts[facts["width"].notna()]
        counts = facts[["width", "height"]].astype(int).value_counts()
        if not len(facts):
            return f"No image{filtered} can be read.", (counts, "sizes"), _MOST_SIZES, None
        told = f"{len(facts):,} images{filtered}: width {_span(facts['width'])}, height "
        told += f"{_span(facts['height'])}; {_count(len(counts), 'size')}."
        edges = bin_edges(facts["longer_side"].to_numpy()).tolist()
        sides = np.histogram(facts["longer_side"], edges)[0]
        ways = facts["orientation"].value_counts()
        ends = [(low, high - 1) for low, high in itertools.pairwise(edges)]
        spans = {
            (f"{a:,} to {b:,}" if b > a else f"{a:,}"): {"longer_side": (a, b)} for a, b in ends
        }

        def listed(part):
            sizes = {f"{w} × {h}": {"width": w, "height": h} for w, h in part.index}
            yield _counted("Most frequent", "width × height", sizes, part)
            yield _counted("Longer side", "pixels", spans, sides)
            named = {name: {"orientation": name} for name in ways.index}
            yield _counted("Orientation", "orientation", named, ways)

        return told, (counts, "sizes"), _MOST_SIZES, listed


def _counted(heading, what, filters, counts):
    """A table of names with what each filters by, and how many images each has."""
    rows = [(name, f"{n:,}") for name, n in zip(filters, counts, strict=True)]
    filters = [one if n else None for one, n in zip(filters.values(), counts, strict=True)]
    counts = [int(n) for n in counts]
    return Section(heading, table=Table((what, "images"), rows, counts, filters))


def _count(number, one, several=None):
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _tail(image_id):
    """The last part of a name."""
    return image_id.rsplit("/", 1)[-1]


def _apart(bits):
    """What the hashes of a group's images say: beyond a few bits they are other cuts of one picture."""
    same = f"hashes differ in up to {bits} of 128 bits"
    return same if bits <= _SAME_CUT else "shifted, or cut out differently"


def _span(values):
    """Smallest, largest and median in words."""
    if values.min() == values.max():
        return f"{values.min():g}"
    return f"{values.min():g} to {values.max():g} (median {values.median():g})"


def paged(items, page, per_page, what):
    """The items of a page (from 1), which they are in words, and how many pages there are; ValueError where there is none."""
    n, n_pages = len(items), max(1, -(-len(items) // per_page))
    if not 1 <= page <= n_pages:
        raise ValueError(f"there is no page {page}; pages are 1 to {n_pages}")
    first = (page - 1) * per_page
    part = items[first : first + per_page]
    where = f"{first + 1:,} to {first + len(part):,} of {n:,} {what}"
    return part, where if n_pages > 1 else f"{n:,} {what}" if n else "none", n_pages
