"""``cbirkit index``, ``search`` and ``report``: encode the images of a folder, find those nearest to one, look at all of it."""

import json
import logging
import os
import time

import cbirkit
from cbirkit._atomic import expanded, write_bytes

from . import choices
from .choices import counted, printable

log = logging.getLogger(__name__)

_MOST_NAMED = 20  # broken files named on the terminal; all are in problems.csv


def index(arguments):
    """Encode the images of a folder and keep the result, so that searches are quick.

    examples:
      cbirkit index photos
      cbirkit index photos --encoder vlad
      cbirkit index /mnt/read-only --out ~/photos.cbirkit

    Run it again after images came or went: only new ones are encoded. A run that was killed goes on where it stopped.
    Any network of torchvision, or of timm as timm/NAME, is an encoder too: cbirkit prefetch resnet50 gets its weights,
    and with --encoder resnet50 it works offline from then on.
    """
    _indexed(choices.task_of(arguments), arguments)


def _indexed(task, arguments):
    """The images of a `Task`, encoded, indexed and kept: a Retriever."""
    started, out = time.monotonic(), task.out
    about = {name: getattr(task, name) for name in ("encoder", "index", "labels")}
    with choices.writing(out):
        retriever, new = _fitted(task, progress=not arguments.quiet)
        # in one step: settings are never those of another index
        choices.save_anew(lambda path: retriever.save(path, about=about), out / "retriever")
        text = retriever.problems.map(_as_cell).to_csv(index=False)
        write_bytes(out / "problems.csv", text.encode("utf-8", "backslashreplace"))
    _name_problems(retriever.problems, out)
    log.info(
        f"indexed {counted(len(retriever.ids), 'image')} of {arguments.folder} ({new:,} encoded now) in "
        f"{time.monotonic() - started:.1f} s with encoder {task.encoder} and index {task.index}; kept in {out}"
    )
    return retriever


def _fitted(task, progress):
    """A fitted Retriever, and how many images had to be encoded for it."""
    store = cbirkit.store.EmbeddingStore(task.out / "store")
    encoder, index = choices.prepared_encoder(task), choices.make_index(task.index)
    retriever = cbirkit.Retriever(encoder, index, store=store, progress=progress).fit(task.images)
    return retriever, min(store.n_encoded, len(retriever.ids))


def _as_cell(text):
    """Text in one line that no spreadsheet takes for a formula."""
    return f"'{printable(text)}" if str(text).startswith(("=", "+", "-", "@")) else printable(text)


def _name_problems(problems, out):
    if len(problems):
        told = "cannot be used, or found by nothing in the picture:"
        log.info(f"{counted(len(problems), 'file')} {told}")
    for row in problems.head(_MOST_NAMED).itertuples(index=False):
        log.info(f"  {row.name}: {row.reason}")
    if len(problems) > _MOST_NAMED:
        log.info(f"  and {len(problems) - _MOST_NAMED} more, named in {out / 'problems.csv'}")


def search(arguments):
    """Find the images of a folder that look most like a given one.

    examples:
      cbirkit search photos holiday/beach.jpg
      cbirkit search photos ~/new.png -k 5 --json
      cbirkit search photos ~/new.png --html found.html

    IMAGE is a file anywhere, or the name of one in FOLDER; one of the folder does not find itself. A folder without an
    index is indexed first.
    """
    page = arguments.html and choices.place_of(arguments.html, "--html FILE")
    task = choices.task_of(arguments)
    query = _find_query(arguments.image, arguments.folder, task.images)
    retriever = _kept_retriever(task, arguments.trust)
    if retriever is None:
        cbirkit.images.read_image(query)  # what is wrong with it is told before the work
        retriever = _indexed(task, arguments)
    found = {"query": arguments.image, "folder": arguments.folder}
    found |= {"encoder": task.encoder, "index": task.index}
    found["results"] = _results(retriever, query, arguments.k)
    if page:
        from . import pages

        pages.write_view(page, pages.view_of_results(found, query, retriever.images))
        log.info(f"wrote {page}")
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False))
    elif found["results"]:
        print(_table(found["results"]))


def _find_query(image, folder, images):
    """The Path of the image to search for."""
    from cbirkit.images.tables import as_on_disk

    for candidate in (expanded(image).absolute(), expanded(folder).absolute() / image):
        candidate = as_on_disk(candidate) or candidate
        if candidate.exists() and not candidate.is_dir():
            return candidate
    there = f"{folder} has {counted(len(images), 'image')}, the first is {images.ids[0]}"
    raise ValueError(
        f"no image {image}: it is neither a file nor the name of an image in {folder}; {there}"
    )


def _kept_retriever(task, trust):
    """The Retriever that was kept, showing the task's images; None where there is none, or it does not fit them or what is asked for."""
    place, kept = task.out / "retriever", choices.kept_settings(task.out)
    damaged = f"the index in {task.out} cannot be used"
    if not kept:
        told = damaged if place.exists() else f"there is no index in {task.out} yet"
        return log.info(f"{told}: indexing first, later searches are quick")
    if (kept["encoder"], kept["index"]) != (task.encoder, task.index):
        was = f"encoder {kept['encoder']} and index {kept['index']}"
        return log.info(f"the index is for {was}: indexing anew")
    try:
        retriever = cbirkit.Retriever.load(place, images=False, trust_index=trust)
        same = type(retriever.index_) is type(choices.make_index(task.index))
        if not same or repr(retriever.encoder_) != repr(choices.make_encoder(task.encoder)):
            raise ValueError("it is not what it says")
    except (OSError, ValueError) as error:
        return log.info(f"{damaged} ({error}): indexing anew")
    retriever.database_, told = _compared(retriever.database_, task)
    if told:
        return log.info(f"{told}: bringing the index up to date")
    retriever.progress = False
    return retriever


def _compared(database, task):
    """The database showing the images of the folder, and what is new, gone or changed there since it was indexed; or empty."""
    now, then = set(task.images.ids), set(database.ids)
    new = sum(not _is_refused_still(task.images, name, database.refused) for name in now - then)
    gone = then - now
    if gone:
        database = database.without(database.positions(sorted(gone)))
    database = database.shown_by(task.images)
    with cbirkit.store.digests(task.out / "store" / "embeddings.sqlite") as cache:
        others = cbirkit.retrieval.changed(database.images, range(len(database)), cache=cache)
    told = f"{counted(new, 'new image')}, {len(gone)} gone, {len(others)} changed"
    return database, told if new or gone or others else ""


def _is_refused_still(images, name, refused):
    """Whether an image that could not be used when it was indexed still cannot."""
    if name not in refused:
        return False
    try:
        if refused[name] and cbirkit.store.stamp_of(images.path(name)) == refused[name]:
            return True
        images[name]
    except (cbirkit.images.ImageProblem, OSError):
        return True
    return False


def _results(retriever, query, k):
    """A dict (rank, id, distance, label, path) for each result."""
    from cbirkit.images.tables import text_of

    results = retriever.search(query, k=min(k, len(retriever.ids)))[0]
    if len(results) < k:
        others = f"{counted(len(results), 'other image')} to find, fewer than the {k} asked for"
        log.info(others if len(results) else "no other image to find")
    labels, rows = retriever.table.get("label"), results.to_dict("records")
    for row in rows:
        label = None if labels is None else text_of(labels[row["id"]]) or None
        row |= {"label": label, "path": os.path.abspath(retriever.images.path(row["id"]))}
    return rows


def _table(results):
    """Lines of text: rank, distance, label where there are any, name."""
    rows = [
        (one["rank"], f"{one['distance']:.4f}", one["label"] or "", one["id"]) for one in results
    ]
    rows = [("rank", "distance", "label" if any(row[2] for row in rows) else "", "name"), *rows]
    rows = [[printable(cell) for cell in row] for row in rows]
    width = max(len(row[2]) + 2 * bool(row[2]) for row in rows)
    return "\n".join(f"{a:>4}  {b:>8}  {c:<{width}}{d}" for a, b, c, d in rows)


def report(arguments):
    """Look at a folder of images before anything else: sizes, classes, copies, outliers, broken files.

    examples:
      cbirkit report photos
      cbirkit report photos --html ~/photos.html --encoder color

    The page (default: ./report_FOLDER.html) is one file that needs no server and loads nothing. It holds small copies of
    some images.
    """
    name = arguments.html or choices.named_after(arguments.folder, "report", "html")
    path = choices.place_of(name, "--html FILE")
    task = choices.task_of(arguments)
    encoder = choices.prepared_encoder(task, keep=False)
    found = cbirkit.evaluation.survey(task.images, encoder, progress=not arguments.quiet)
    from . import pages

    pages.write_view(path, pages.view_of_survey(arguments.folder, found, task.encoder))
    log.info(
        f"{counted(len(found.table), 'image')}, {len(found.problems)} that cannot be read, "
        f"{counted(len(found.copies), 'group')} of copies, {len(found.near_copies)} of near-copies"
    )
    print(path)
