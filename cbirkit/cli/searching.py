"""``cbirkit index``, ``search``, ``report`` and ``web``: encode the images of a folder, find those nearest to one, look at all, show them."""

import contextlib
import json
import logging
import os
import time

import cbirkit
from cbirkit._atomic import expanded

from . import choices
from .choices import counted, printable

log = logging.getLogger(__name__)

_MOST_NAMED = 20  # broken files named on the terminal


def index(arguments):
    """Encode the images of a folder and keep the result, so that searches are quick.

    examples:
      cbirkit index photos
      cbirkit index photos --encoder vlad
      cbirkit index /mnt/read-only --out ~/photos.cbirkit
      cbirkit index photos --workers 2
      cbirkit index photos --workers tls://host:8786

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
        store = cbirkit.store.EmbeddingStore(out / "store")
        index = getattr(cbirkit.indexes, choices.INDEXES[task.index])()
        encoder = choices.prepared_encoder(task)
        if workers := vars(arguments).get("workers"):
            cbirkit.workers.encode(encoder, task.images, store, workers)
        retriever = cbirkit.Retriever(encoder, index, store=store).fit(task.images)
        # in one step: settings are never those of another index
        choices.save_anew(lambda path: retriever.save(path, about=about), out / "retriever")
    _name_problems(retriever.problems)
    new = min(store.n_encoded, len(retriever.ids))
    log.info(
        f"indexed {counted(len(retriever.ids), 'image')} of {arguments.folder} ({new:,} encoded now) in "
        f"{time.monotonic() - started:.1f} s with encoder {task.encoder} and index {task.index}; kept in {out}"
    )
    return retriever


def _name_problems(problems):
    if len(problems):
        told = "cannot be used, or found by nothing in the picture:"
        log.info(f"{counted(len(problems), 'file')} {told}")
    for row in problems.head(_MOST_NAMED).itertuples(index=False):
        log.info(f"  {row.name}: {row.reason}")
    if len(problems) > _MOST_NAMED:
        log.info(f"  and {len(problems) - _MOST_NAMED} more; cbirkit report names all")


def search(arguments):
    """Find the images of a folder that look most like a given one, or like what words say.

    examples:
      cbirkit search photos holiday/beach.jpg
      cbirkit search photos "a red car on a street"
      cbirkit search photos ~/new.png -k 5 --json
      cbirkit search photos ~/new.png --html found.html

    IMAGE is a file anywhere, or the name of one in FOLDER; one of the folder does not find itself. What names no file
    and does not look like a name (mug_2, x.jpg) is taken for words: the encoder lite0 knows them, with pip install "cbirkit[text]".
    A folder without an index is indexed first.
    """
    page = arguments.html and choices.place_of(arguments.html, "--html FILE")
    task = choices.task_of(arguments)
    query = _find_query(arguments.image, arguments.folder, task.images)
    retriever = _kept_retriever(task, arguments.trust)
    if retriever is None:  # what is wrong with the query is told before the work
        if isinstance(query, str):
            cbirkit.text.text_side(choices.make_encoder(task.encoder))
            cbirkit.text.minilm_folder()
        else:
            cbirkit.images.read_image(query)
        retriever = _indexed(task, arguments)
    found = {"query": arguments.image, "folder": arguments.folder, "encoder": task.encoder}
    found |= {"index": task.index, "results": _results(retriever, query, arguments.k)}
    if page:
        from . import pages

        pages.write_view(page, pages.view_of_results(found, query, retriever.images))
        log.info(f"wrote {page}")
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False))
    elif found["results"]:
        print(_table(found["results"]))


def _find_query(image, folder, images):
    """The Path of the image to search for, or the words as they are."""
    for candidate in (expanded(image).absolute(), expanded(folder).absolute() / image):
        if found := cbirkit.images.tables.as_on_disk(candidate):
            return found
    if cbirkit.text.is_words(image):
        return image
    there = f"{folder} has {counted(len(images), 'image')}, the first is {images.ids[0]}"
    raise ValueError(f"no image {image}: it is neither a file nor one of {folder}; {there}")


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
    except (OSError, ValueError) as error:
        return log.info(f"{damaged} ({error}): indexing anew")
    images, database = task.images, retriever.database_
    gone = set(database.ids) - set(images.ids)
    new = set(images.ids) - set(database.ids)
    new = [name for name in new if _may_be_new(images, name, database.refused)]
    if gone:
        database = database.without(database.positions(sorted(gone)))
    retriever.database_, retriever.progress = database.shown_by(images), False
    with cbirkit.store.digests(task.out / "store" / "embeddings.sqlite") as cache:
        others = cbirkit.retrieval.changed(retriever.images, range(len(retriever.ids)), cache=cache)
    if not (new or gone or others):
        return retriever
    told = f"{counted(len(new), 'new image')}, {len(gone)} gone, {len(others)} changed"
    return log.info(f"{told}: bringing the index up to date")


def _may_be_new(images, name, refused):
    """Whether an image can be used that was not there or could not be used when the folder was indexed."""
    with contextlib.suppress(cbirkit.images.ImageProblem, OSError):
        if name in refused and refused[name] != cbirkit.store.stamp_of(images.path(name)):
            images[name]
            return True
    return name not in refused


def _results(retriever, query, k):
    """A dict (rank, id, distance, label, path) for each result."""
    find = retriever.search_words if isinstance(query, str) else retriever.search
    results = find(query, k=min(k, len(retriever.ids)))[0]
    if len(results) < k:
        others = f"{counted(len(results), 'other image')} to find, fewer than the {k} asked for"
        log.info(others if len(results) else "no other image to find")
    labels, rows = retriever.table.get("label", {}), results.to_dict("records")
    for row in rows:
        label = cbirkit.images.tables.text_of(labels.get(row["id"])) or None
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
    found = cbirkit.evaluation.survey(task.images, choices.prepared_encoder(task, keep=False))
    from . import pages

    view = pages.view_of_survey(arguments.folder, found, task.encoder)
    pages.write_view(path, view)
    log.info(view.told)
    print(path)


def web(arguments):
    """Write a site that searches a folder in the browser, also on a phone: static files, offline, nothing uploaded.

    examples:
      cbirkit web photos --out site
      python -m http.server --directory site       and open http://localhost:8000
      cbirkit web photos --out site --runtime node_modules/onnxruntime-web/dist

    Put SITE on any host of static files that has https, and a phone that opened it once keeps it: it can be installed, and works
    offline. Who has its address sees small copies and the names of all pictures of FOLDER. A picture that is searched for,
    or seen by the camera, stays on the device.
    """
    site, arguments.out = cbirkit.web.place(arguments.out, arguments.folder), arguments.store
    task, title = choices.task_of(arguments), expanded(arguments.folder).resolve().name
    if not isinstance(choices.make_encoder(task.encoder), cbirkit.encoders.Deep):
        raise TypeError(f"encoder {task.encoder} does not run in a browser; --encoder lite0 does")
    # onnxruntime would add one that repeats our notes
    logging.getLogger().addHandler(logging.NullHandler())
    kwargs = {"precision": arguments.precision, "files": cbirkit.web.runtime(arguments.runtime)}
    retriever = _kept_retriever(task, False) or _indexed(task, arguments)
    log.info(f"making the site, with the network in {arguments.precision}")
    sizes = cbirkit.web.write_site(retriever, site, title=printable(title), **kwargs)
    told = f"{counted(len(retriever.ids), 'image')}, {choices.sized(sum(sizes.values()))}"
    log.info(f"wrote a site of {told}; python -m http.server --directory {str(site)!r} shows it")
    print(site)
