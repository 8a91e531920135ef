"""``cbirkit explore``: a notebook about one folder."""

import contextlib
import importlib.util
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

from cbirkit._atomic import expanded, write_bytes

from . import choices

log = logging.getLogger(__name__)


def explore(arguments):
    """Write a notebook that explores a folder by clicking, and open it in JupyterLab.

    examples:
      cbirkit explore photos
      cbirkit explore photos --no-open
      cbirkit explore photos --notebook ~/course/mine.ipynb
    """
    task = choices.task_of(arguments)
    name = arguments.notebook or choices.named_after(arguments.folder, "explore", "ipynb")
    path = choices.place_of(name, "--notebook FILE")
    # so that the notebook does not fail to write there
    with choices.writing(task.out):
        choices.prepared_encoder(task)
    if path.exists() and path.stat().st_size:  # an empty one was left by a full disk
        there = f"{path} is there already and was kept"
        log.info(f"{there}; name another with --notebook FILE, or delete it")
    else:
        notebook = _notebook(expanded(arguments.folder).resolve(), task)
        write_bytes(path, f"{json.dumps(notebook, indent=1)}\n".encode())
        log.info(f"wrote {path} for {choices.counted(len(task.images), 'image')}")
    print(path)
    if not arguments.no_open:
        _open(path)


def _open(path):
    if importlib.util.find_spec("jupyterlab") is None:
        how = 'so the notebook was not opened: pip install "cbirkit[lab]"'
        return log.info(f"JupyterLab is not installed, {how}")
    log.info("opening JupyterLab; end it with Ctrl-C")
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", str(path)])
    while process.poll() is None:
        # JupyterLab sees it too, and asks whether to end
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
    if process.returncode:
        raise OSError(f"JupyterLab ended with code {process.returncode}; the notebook is {path}")


def _notebook(folder, task):
    """The notebook as a dict; ids and metadata are fixed, so equal arguments give equal files."""
    out, made = task.out.resolve(), choices.encoder_code(task.encoder)
    if choices.learns(task.encoder):  # what it learnt is kept beside the embeddings
        made = f"load_estimator({str(out / 'encoders' / task.encoder)!r})  # {made}"
    # the name as Markdown that shows it as it is, and breaks where the window is narrow
    name = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", choices.printable(folder.name))
    labels = f", labels={task.labels!r}" if task.labels else ""
    values = {"name": name, "folder": str(folder), "labels": labels, "encoder": made}
    values |= {"index": choices.INDEXES[task.index], "called": task.encoder}
    text = Path(__file__).with_name("explore.md").read_text(encoding="utf-8")
    text = text.format(store=str(out / "store"), **values)
    cells, code = [], {"cell_type": "code", "execution_count": None, "outputs": []}
    # what stands between the fences is code, the rest words
    for number, part in enumerate(re.split(r"\n```(?:python)?\n", text)):
        if source := part.strip().splitlines(keepends=True):
            kind = code if number % 2 else {"cell_type": "markdown"}
            cells.append({"id": f"cell-{number}", "metadata": {}, "source": source, **kind})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
