"""The pages of ``cbirkit search`` and ``cbirkit report``: one HTML file each that opens from disk and loads nothing else."""

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np

from cbirkit import __version__
from cbirkit._atomic import write_bytes
from cbirkit.datasets.facts import Facts
from cbirkit.explore.collection_views import VIEWS, CollectionViews, ViewRequest
from cbirkit.explore.queries import ThumbnailCache
from cbirkit.images import read_thumbnail
from cbirkit.plots import Section, Tile, View
from cbirkit.plots.tiles import escaped, picture_or_none

from .choices import ENCODERS, printable, sized

_SIDE, _SHEET = 240, 24
_PAGE = 144  # outliers, and a twelfth as many groups of copies


def write_view(path, view):
    """Write a `cbirkit.plots.View` as a whole page; all text is escaped, pictures are inside."""
    beside = Path(__file__).with_name
    frame, style = (beside(f"pages.{kind}").read_text() for kind in ("html", "css"))
    made = {"version": __version__, "day": datetime.date.today(), "style": style}
    page = frame.format(title=escaped(view.title), body=view.html(), **made)
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def view_of_results(found, query, images):
    """What a search found as a `cbirkit.plots.View`.

    Parameters
    ----------
    found : dict
        query, folder, encoder, index and results (rank, distance, label, id).
    query : pathlib.Path, or the words as str
    images : ImageCollection
    """
    tiles = []
    for row in found["results"]:
        name, picture = printable(row["id"]), picture_or_none(images.thumbnail, row["id"], _SIDE)
        caption = f"{name} ({printable(row['label'])})" if row["label"] else name
        note, alt = f"distance {row['distance']:.4f}", f"result {row['rank']}, {name}"
        tiles.append(Tile(name, picture, alt, caption, note, rank=row["rank"]))
    name = printable(found["query"])
    words = isinstance(query, str)
    picture = None if words else picture_or_none(read_thumbnail, query, _SIDE)
    tile = None if words else Tile(name, picture, f"the query, {name}", name, mark="query")
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
    outliers = found.outliers[: len(found.table) // 5]  # of a few images none is unlike the others
    found = replace(found, outliers=outliers)
    views, n = CollectionViews(Facts(found.images), ThumbnailCache(), _PAGE), len(found.images)
    views.learn(found)
    sample = np.linspace(0, n - 1, min(n, _SHEET)).astype(int)
    sections = [Section("A sample, evenly spaced", tiles=views.tiles(sample))]
    for name in VIEWS[1:]:
        view = views.content(ViewRequest(name))
        told = [view.told, view.where if view.n_pages > 1 else ""]
        if name == "outliers":
            words = ENCODERS.get(encoder, ["a neural network with its official weights"])[0]
            told.append(f"Near is what the encoder {encoder} ({words}) takes for it.")
        sections += [Section(view.title, " ".join(filter(None, told))), *view.sections]
        if view.sections and view.sections[0].table:  # all of a table, the first of many pictures
            for page in range(2, view.n_pages + 1):
                sections += views.content(ViewRequest(name, page)).sections
    # the whole name, to find the file
    named = lambda tile: replace(tile, caption=printable(tile.id))
    sections = [replace(one, tiles=list(map(named, one.tiles))) for one in sections]
    paths = map(found.images.path, range(n))
    n_bytes = sum(path.stat().st_size for path in paths if path.exists())
    told = f"{views.told} {sized(n_bytes)} on disk."
    return View(f"Images in {printable(folder)}", told, sections)
