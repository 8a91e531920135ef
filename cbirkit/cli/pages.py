"""The pages of ``cbirkit search`` and ``cbirkit report``: one HTML file each that opens from disk and loads nothing else."""

import contextlib
import datetime
from collections import Counter
from pathlib import Path

from cbirkit import __version__
from cbirkit._atomic import write_bytes
from cbirkit.images import ImageProblem, read_thumbnail
from cbirkit.plots import Section, Table, Tile, View
from cbirkit.plots.tiles import escaped

from .choices import ENCODERS, counted, printable

# nothing is loaded, nothing runs
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SIDE, _SHEET, _GROUPS, _IN_GROUP = 240, 24, 12, 8
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1))


def write_view(path, view):
    """Write a `cbirkit.plots.View` as a whole page; all text is escaped, pictures are inside."""
    style = Path(__file__).with_name("pages.css").read_text()
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width">
<title>{escaped(view.title)}</title><style>{style}</style></head>
<body>{view.html()}<footer>Made by cbirkit {__version__} on {datetime.date.today()}. This file holds small copies of some of the images: mind who may see them.</footer></body></html>
"""
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def view_of_results(found, query, images):
    """What a search found as a `cbirkit.plots.View`.

    Parameters
    ----------
    found : dict
        query, folder, encoder, index and results (rank, distance, label, id).
    query : pathlib.Path
    images : ImageCollection
    """
    tiles = []
    for row in found["results"]:
        name, picture = printable(row["id"]), _thumbnail(images.thumbnail, row["id"])
        caption = f"{name} ({printable(row['label'])})" if row["label"] else name
        note, alt = f"distance {row['distance']:.4f}", f"result {row['rank']}, {name}"
        tiles.append(Tile(name, picture, alt, caption, note, rank=row["rank"]))
    name = printable(found["query"])
    tile = Tile(name, _thumbnail(read_thumbnail, query), f"the query, {name}", name, mark="query")
    how = f"{found['folder']}: encoder {found['encoder']}, index {found['index']}"
    told = f"{how}; a smaller distance is nearer."
    return View(f"Images that look like {name}", told, [Section(tiles=tiles)], tile)


def view_of_survey(folder, found, encoder):
    """What a `Survey` found as a `cbirkit.plots.View`, for someone who has no Python.

    Parameters
    ----------
    folder : str
    found : cbirkit.evaluation.Survey
    encoder : str
        What the outliers were found with.
    """
    step = max(len(found.table) / _SHEET, 1)
    sheet = [found.table.index[int(i * step)] for i in range(min(_SHEET, len(found.table)))]
    same = "The same file, byte for byte."
    alike = "They look alike, pixel for pixel; look before you delete."
    broken = [(printable(one.name), one.reason) for one in found.problems.itertuples(index=False)]
    sections = [
        _sizes(found),
        _classes(found),
        Section("A sample, evenly spaced", tiles=_tiles(found, sheet)),
        *_groups(found, found.copies, "Copies", same),
        *_groups(found, found.near_copies, "Near-copies", alike),
        *_outliers(found, encoder),
        *[Section("Files that cannot be read", table=Table(("file", "reason"), broken))]
        * bool(broken),
    ]
    return View(f"Images in {printable(folder)}", _lead(found), sections)


def _thumbnail(read, image):
    """A thumbnail, or None where the image cannot be read (any more)."""
    with contextlib.suppress(ImageProblem, OSError):
        return read(image, _SIDE)


def _lead(found):
    """The whole in a few words."""
    n_classes, n_broken, n_bytes = len(found.class_counts()), len(found.problems), 0
    for name in found.table.index:
        with contextlib.suppress(OSError):
            n_bytes += found.images.path(name).stat().st_size
    unit, size = next((unit, n_bytes / n) for unit, n in _UNITS if n_bytes >= n or n == 1)
    classes = f" in {counted(n_classes, 'class', 'classes')}" if n_classes else ""
    broken = f"{counted(n_broken, 'file')} cannot be read" if n_broken else "Every file can be read"
    kinds = {"copies": found.copies, "near-copies": found.near_copies}
    copies = [
        f"{counted(len(groups), 'group')} of {kind}" for kind, groups in kinds.items() if groups
    ]
    told = f"{counted(len(found.table), 'image')}{classes}, {size:,.0f} {unit} on disk. {broken}. "
    return f"{told}{' and '.join(copies) or 'No copies'}."


def _range(values):
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _sizes(found):
    sizes = found.table[["width", "height"]]
    kinds = Counter(str(name).rpartition(".")[2].lower() for name in found.table.index)
    (width, height), count = next(iter(sizes.value_counts().items()))
    rows = [
        ("file types", ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())),
        *(
            (side, f"{_range(sizes[side])} pixels, median {sizes[side].median():.0f}")
            for side in sizes
        ),
        ("most frequent size", f"{width} × {height}: {counted(count, 'image')}"),
    ]
    return Section(table=Table((), rows))


def _classes(found):
    counts = found.class_counts()
    if not len(counts):
        told = "No two sub-folders and no file of labels (--labels), so no classes."
        return Section("Classes", told)
    without = len(found.table) - counts.sum()
    rows = [(name, f"{n:,}") for name, n in counts.items()]
    return Section(
        f"{counted(len(counts), 'class', 'classes')}, {_range(counts)} images each",
        f"{counted(without, 'image')} without a class." if without else "",
        table=Table(("class", "images", ""), rows, counts.tolist()),
    )


def _groups(found, groups, title, meaning):
    """A section of words, and one of tiles for each of the first groups."""
    shown = f" The first {_GROUPS} are shown." if len(groups) > _GROUPS else ""
    yield Section(f"{title}: {counted(len(groups), 'group')}", (meaning + shown) * bool(groups))
    for group in groups[:_GROUPS]:
        shown = f", {_IN_GROUP} are shown" if len(group) > _IN_GROUP else ""
        tiles = _tiles(found, group[:_IN_GROUP])
        yield Section(summary=f"{counted(len(group), 'image')}{shown}", tiles=tiles)


def _outliers(found, encoder):
    # of a few images all would be shown, and none be unlike the others
    ids = found.outliers[: len(found.table) // 5]
    distance = found.table["distance"]
    words = ENCODERS.get(encoder, "a neural network with its official weights").split(";")[0]
    told = (
        "The images with the least alike around them: strange ones, but also the only ones of their kind. "
        f"Alike is what the encoder {encoder} ({words}) takes for it; of all images, the middle one has the distance {distance.median():.3f}."
    )
    tiles = _tiles(found, ids, {name: f"distance {distance[name]:.3f}" for name in ids})
    return [Section("Unlike all others", told, tiles)] if ids else []


def _tiles(found, ids, notes=None):
    notes = notes or {
        name: " × ".join(map(str, found.table.loc[name, ["width", "height"]])) for name in ids
    }
    pictures = [_thumbnail(found.images.thumbnail, name) for name in ids]
    return [
        Tile(str(name), picture, caption=printable(name), note=notes[name])
        for name, picture in zip(ids, pictures, strict=True)
    ]
