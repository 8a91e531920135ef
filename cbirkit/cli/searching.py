"""``cbirkit search``: the images of a folder that are nearest to one image."""

import os

from .._atomic import expanded
from .choices import checked_folder, choose, kept_settings, make_encoder, make_index, out_folder
from .indexing import index_folder
from .say import Failure, counted


def search_folder(arguments, printer):
    """Print what is nearest; index the folder first where that is needed.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, image, k, json, html, out, encoder, index, trust, quiet.
    printer : cbirkit.cli.say.Printer

    Raises
    ------
    Failure
        There is no such folder or image, or the page cannot be written.
    """
    from ..images import read_image
    from .pages import as_json, check_place, table_lines

    if arguments.html:
        check_place(arguments.html)
    images = checked_folder(arguments)
    query = _find_query(arguments.image, arguments.folder, images)
    out = out_folder(arguments)
    encoder, index = names = choose(arguments, out, printer)
    retriever = _kept_retriever(out, images, names, arguments.trust, printer)
    if retriever is None:
        read_image(query)  # what is wrong with it is told before the work
        retriever = index_folder(arguments, printer, images, names)
    found = {
        "query": str(arguments.image),
        "folder": str(arguments.folder),
        "encoder": encoder,
        "index": index,
    }
    found["results"] = _search(retriever, query, arguments.k, printer)
    if arguments.html:
        _write_page(arguments.html, found, query, retriever.images, printer)
    if arguments.json:
        printer.result(as_json(found))
    elif found["results"]:
        printer.result("\n".join(table_lines(found["results"])))


def _find_query(image, folder, images):
    """The Path of the image to search for."""
    from ..images.folders import as_on_disk

    for candidate in (expanded(image).absolute(), expanded(folder).absolute() / image):
        candidate = as_on_disk(candidate) or candidate
        if candidate.exists() and not candidate.is_dir():
            return candidate
    near = f"; {folder} has {counted(len(images), 'image')}, the first is {images.ids[0]}"
    raise Failure(
        f"no image {image}: it is neither a file nor the name of an image in {folder}{near}"
    )


def _kept_retriever(out, images, names, trust, printer):
    """The Retriever kept in `out`, showing `images`; None where there is none, or it does not fit them or what is asked for."""
    from ..retrieval import Retriever

    kept = kept_settings(out)
    if not kept:
        what = (
            "the index in {} cannot be used"
            if (out / "retriever").exists()
            else "there is no index in {} yet"
        )
        printer.note(f"{what.format(out)}: indexing first, later searches are quick")
        return None
    if (kept["encoder"], kept["index"]) != names:
        printer.note(
            f"the index is for encoder {kept['encoder']} and index {kept['index']}: indexing anew"
        )
        return None
    try:
        retriever = Retriever.load(out / "retriever", images=False, trust_index=trust)
        if (repr(retriever.encoder_), type(retriever.index_)) != (
            repr(make_encoder(names[0])),
            type(make_index(names[1])),
        ):
            raise ValueError("it is not what it says")
    except (OSError, ValueError) as error:
        printer.note(f"the index in {out} cannot be used ({error}): indexing anew")
        return None
    retriever.database_, told = _compared(
        retriever.database_, images, out / "store" / "digests.sqlite"
    )
    if told:
        printer.note(f"{told}: bringing the index up to date")
        return None
    retriever.progress = False
    return retriever


def _compared(database, images, cache_file):
    """The database showing the images of the folder, and what is new, gone or changed there since it was indexed; or empty."""
    from ..retrieval import changed
    from ..store import DigestCache

    now, then = set(images.ids), set(database.ids)
    new = sum(not _is_refused_still(images, name, database.refused) for name in now - then)
    gone = then - now
    if gone:
        database = database.without(database.positions(sorted(gone)))
    database = database.shown_by(images)
    with DigestCache(cache_file) as cache:
        others = changed(database.images, range(len(database)), cache=cache)
    told = f"{counted(new, 'new image')}, {len(gone)} gone, {len(others)} changed"
    return database, told if new or gone or others else ""


def _is_refused_still(images, name, refused):
    """Whether an image that could not be used when it was indexed still cannot."""
    from ..images import ImageProblem
    from ..store import stamp_of

    if name not in refused:
        return False
    try:
        if refused[name] and stamp_of(images.path(name)) == refused[name]:
            return True
        images[name]
    except (ImageProblem, OSError):
        return True
    return False


def _search(retriever, query, k, printer):
    """A dict (rank, id, path, label, distance) for each result."""
    from ..images.tables import text_of

    ranking = retriever.search(query, k=min(k, len(retriever.ids)))
    results = ranking[0]
    if len(results) < k:
        others = f"{counted(len(results), 'other image')} to find, fewer than the {k} asked for"
        printer.note(others if len(results) else "no other image to find")
    labels = retriever.table.get("label")
    rows = []
    for rank, name, distance in results.itertuples(index=False):
        label = None if labels is None else text_of(labels[name]) or None
        row = {"rank": int(rank), "id": name, "path": os.path.abspath(retriever.images.path(name))}
        rows.append(row | {"label": label, "distance": float(distance)})
    return rows


def _write_page(file, found, query, images, printer):
    from ..images import read_thumbnail
    from .pages import html_page, picture_or_none, write_page

    pictures = [picture_or_none(images.thumbnail, row["id"], 240) for row in found["results"]]
    page = html_page(found, [picture_or_none(read_thumbnail, query, 240), *pictures])
    write_page(file, page)
    printer.note(f"wrote {file}")
