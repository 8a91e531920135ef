"""``cbirkit explore``: a notebook about one folder."""

import contextlib
import errno
import importlib.util
import json
import os
import re
import subprocess
import sys

from .._atomic import expanded
from .choices import (
    INDEXES,
    checked_folder,
    choose,
    claim,
    encoder_code,
    labels_file,
    out_folder,
    prepared_encoder,
    recipe,
)
from .indexing import cannot_write
from .pages import write_page
from .say import Failure, counted, file_name, printable

_INTRODUCTION = """# Explore {name}

Run all cells (Run > Run All Cells). The first run encodes every image; later ones only what is new."""
_PARTS = {
    "What is in it": "Turn the pages; see copies side by side, outliers, files that cannot be read, classes and sizes.",
    "Search": "Click an image to search for it, drop in one of your own, or crop a region.",
    "Map": "Rest on a point to see its image, click it and the search above asks for it, draw round some to see them all.",
}
_LOOK = """rows = np.zeros((len(images), retriever.embeddings.shape[1]))  # files that could not be used keep zeros
rows[images.positions(retriever.ids)] = retriever.embeddings
explore.CollectionExplorer(images, rows)"""
_SEARCH = "explorer = explore.QueryExplorer({{{!r}: retriever}})\nexplorer"
_MAP = """method = "umap" if len(retriever.ids) >= 10 else "pca"
explore.EmbeddingMap(retriever.images, retriever.embeddings, method=method).link(explorer)"""


def explore_folder(arguments, printer):
    """Write the notebook, and open it unless told not to.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, out, encoder, index, notebook, no_open.
    printer : cbirkit.cli.say.Printer

    Raises
    ------
    Failure
        There is no such folder, no image in it, or the notebook cannot be written.
    """
    images = checked_folder(arguments)
    folder = expanded(arguments.folder).resolve()
    out = out_folder(arguments).resolve()
    encoder, index = choose(arguments, out, printer)
    path = expanded(arguments.notebook or f"explore_{file_name(folder)}.ipynb")
    _make(out)
    if recipe(encoder)[1]:
        prepared_encoder(encoder, images, out, printer)
    notebook = (
        json.dumps(_notebook(folder, labels_file(arguments), out, encoder, index), indent=1) + "\n"
    )
    if path.exists() and path.stat().st_size:  # an empty one was left by a full disk
        printer.note(
            f"{path} is there already and was kept; name another with --notebook FILE, or delete it"
        )
    else:
        write_page(path, notebook, "--notebook FILE")
        printer.note(f"wrote {path} for {counted(len(images), 'image')}")
    printer.result(str(path))
    if not arguments.no_open:
        _open(path, printer)


def _make(out):
    """Make the folder that the notebook will keep embeddings in, so that it does not fail there."""
    try:
        claim(out)
        if not os.access(out, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise cannot_write(out, error) from error


def _open(path, printer):
    if importlib.util.find_spec("jupyterlab") is None:
        printer.note(
            'JupyterLab is not installed, so the notebook was not opened: pip install "cbirkit[lab]"'
        )
        return
    printer.note("opening JupyterLab; end it with Ctrl-C")
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", str(path)])
    code = None
    while code is None:
        with contextlib.suppress(
            KeyboardInterrupt
        ):  # JupyterLab sees it too, and asks whether to end
            code = process.wait()
    if code:
        raise Failure(f"JupyterLab ended with code {code}; the notebook is {path}")


def _notebook(folder, labels, out, encoder, index):
    """The notebook as a dict; ids and metadata are fixed, so equal arguments give equal files."""
    codes = [_imports(encoder), _images(folder, labels), _retriever(out, encoder, index)]
    cells = [_markdown(_INTRODUCTION.format(name=_plain(folder.name))), *map(_code, codes)]
    for (title, words), code in zip(
        _PARTS.items(), (_LOOK, _SEARCH.format(encoder), _MAP), strict=True
    ):
        cells += [_markdown(f"## {title}\n\n{words}"), _code(code)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _imports(encoder):
    parts, learned, _ = recipe(encoder)
    lines = ["import numpy as np"] + ["from sklearn.pipeline import make_union"] * (
        len(parts) > 1 and not learned
    )
    lines += ["", "from cbirkit import ImageCollection, Retriever, encoders, explore, indexes"]
    lines += ["from cbirkit.persistence import load_estimator"] * learned
    return "\n".join([*lines, "from cbirkit.store import EmbeddingStore"])


def _images(folder, labels):
    how = f", labels={labels!r}" if labels else ""
    return f"images = ImageCollection.from_folder({str(folder)!r}{how})\nimages"


def _retriever(out, encoder, index):
    made = encoder_code(encoder)
    if recipe(encoder)[1]:  # what it learnt is kept beside the embeddings
        made = f"load_estimator({str(out / 'encoders' / encoder)!r})  # {made}"
    lines = [f"encoder = {made}", f"store = EmbeddingStore({str(out / 'store')!r})"]
    lines += [
        f"retriever = Retriever(encoder, indexes.{INDEXES[index]}(), store=store).fit(images)"
    ]
    lines += ["problems = retriever.problems.head(50).to_string(index=False)"]
    return "\n".join(
        [*lines, 'print(problems if len(retriever.problems) else "every file could be used")']
    )


def _plain(name):
    """A name as Markdown that shows it as it is, and breaks where the window is narrow."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable(name))


def _markdown(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text):
    return {
        "cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [],
        "source": text.splitlines(keepends=True),
    }  # fmt: skip
