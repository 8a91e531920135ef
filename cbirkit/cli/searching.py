"""``cbirkit search``: the images of a folder that are nearest to one image."""

import contextlib
import math
from pathlib import Path

from .choices import checked_folder, choose, kept_settings, out_folder
from .indexing import index_folder
from .say import Failure, counted


def search_folder(arguments, printer):
    """Print what is nearest; index the folder first where that is needed.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, image, k, json, html, out, encoder, index, quiet.
    printer : cbirkit.cli.say.Printer

    Raises
    ------
    Failure
        There is no such folder or image, or the page cannot be written.
    """
    from .pages import as_json, check_place, table_lines

    if arguments.html:
        check_place(arguments.html)
    images = checked_folder(arguments.folder)
    query = _find_query(arguments.image, arguments.folder, images)
    out = out_folder(arguments)
    retriever = _kept_retriever(out, images, choose(arguments, out), printer)
    if retriever is None:
        retriever = index_folder(arguments, printer, images)
    encoder, index = choose(arguments, out)
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
    for candidate in (Path(image).expanduser(), Path(folder).expanduser() / image):
        if candidate.is_file():
            return candidate
    near = f"; {folder} has {counted(len(images), 'image')}, the first is {images.ids[0]}"
    raise Failure(f"no image {image}: it is neither a file nor the name of an image in {folder}{near}")


def _kept_retriever(out, images, names, printer):
    """The Retriever kept in `out`; None where there is none, or it does not fit what is asked for."""
    from ..retrieval import Retriever

    kept = kept_settings(out)
    if not kept:
        printer.note(f"there is no index in {out} yet: indexing first, later searches are quick")
        return None
    if (kept["encoder"], kept["index"]) != names:
        printer.note(f"the index is for encoder {kept['encoder']} and index {kept['index']}: indexing anew")
        return None
    try:
        retriever = Retriever.load(out / "retriever")
    except (OSError, ValueError) as error:
        printer.note(f"the index in {out} cannot be used ({error}): indexing anew")
        return None
    now, then = set(images.ids), set(retriever.ids)
    new, gone = len(now - then - set(retriever.problems["name"])), len(then - now)
    changed = sum(_touched(images.path(name)) > kept.get("seen", math.inf) for name in now & then)
    if new or gone or changed or retriever.images is None:
        told = f"{counted(new, 'new image')}, {gone} gone, {changed} changed"
        printer.note(f"{told}: bringing the index up to date")
        return None
    retriever.progress = False
    return retriever


def _touched(path):
    """When a file was written, moved or given other rights at last, in seconds; 0 where that is not known."""
    with contextlib.suppress(OSError):
        state = path.stat()
        return max(state.st_mtime, state.st_ctime)
    return 0


def _search(retriever, query, k, printer):
    """A dict (rank, id, path, label, distance) for each result."""
    ranking = retriever.search(query, k=min(k, len(retriever.ids)))
    results = ranking[0]
    if len(results) < k:
        others = f"{counted(len(results), 'other image')} to find, fewer than the {k} asked for"
        printer.note(others if len(results) else "no other image to find")
    labels = retriever.table.get("label")
    rows = []
    for rank, name, distance in results.itertuples(index=False):
        label = None if labels is None else labels[name]
        row = {"rank": int(rank), "id": name, "path": str(retriever.images.path(name))}
        rows.append(row | {"label": label if isinstance(label, str) else None, "distance": float(distance)})
    return rows


def _write_page(file, found, query, images, printer):
    from ..images import ImageProblem, read_thumbnail
    from .pages import html_page, write_page

    def picture(name):
        try:
            return images.thumbnail(name, 240)
        except ImageProblem:
            return None

    page = html_page(found, [read_thumbnail(query, 240), *(picture(row["id"]) for row in found["results"])])
    write_page(file, page)
    printer.note(f"wrote {file}")
