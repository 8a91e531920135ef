"""Clean the outputs of an executed notebook: one run gives one file, readable without JavaScript."""

import base64
import re
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "A widget: run the notebook to use it; the same view stands below as a picture."
MAX_BYTES = 1_000_000
_BAR = re.compile(r"\d+%\|")  # a progress bar
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_TIME_STAMP = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d")
_LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}
_KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def clean(notebook):
    """Clean all cells of an executed notebook in place; return it."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(_KERNEL)
    notebook.metadata["language_info"] = dict(_LANGUAGE)
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        if "solution" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
            cell.metadata["collapsed"] = True
        cell.outputs = [kept for output in cell.outputs for kept in _clean_output(output, cell)]
    return notebook


def _clean_output(output, cell):
    """Yield the output as it is kept: no progress bars, widget views or memory addresses."""
    if output.output_type == "stream":
        lines = [line.rsplit("\r", 1)[-1] for line in output.text.splitlines(keepends=True)]
        output.text = _ADDRESS.sub("0x…", "".join(line for line in lines if not _BAR.search(line)))
        if output.text.strip():
            yield output
        return
    if output.output_type == "execute_result":
        output.execution_count = cell.execution_count
    data = output.get("data", {})
    if WIDGET in data:
        if not _BAR.search(data.get("text/plain", "")) and "HBox" not in data.get("text/plain", ""):
            output.data = {"text/plain": WIDGET_TEXT}
            output.metadata = {}
            yield output
        return
    for kind in ("text/plain", "text/html", "text/markdown"):
        if kind in data:
            data[kind] = _ADDRESS.sub("0x…", data[kind])
    for kind in ("image/png", "image/jpeg"):
        if kind in data and "alt" in cell.metadata:
            output.metadata[kind] = {"alt": cell.metadata["alt"]}
    if "image/png" in data:
        data["image/png"] = _smaller_png(data["image/png"])
    yield output


def _smaller_png(encoded):
    """Re-encode a large PNG with 256 colours where that makes it at least a third smaller."""
    if len(encoded) < 60_000:
        return encoded
    image = Image.open(BytesIO(base64.b64decode(encoded))).convert("RGB")
    file = BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG).save(
        file, "PNG", optimize=True
    )
    smaller = base64.b64encode(file.getvalue()).decode() + "\n"
    return smaller if len(smaller) < 0.67 * len(encoded) else encoded


def complaints(notebook, root):
    """Return one sentence per output that must not be published: errors, warnings, machine paths, time stamps.

    Lines that the package logs are no warnings: the reader sees them too.
    """
    places = {str(Path(root).resolve()), str(Path.home()), sys.prefix, tempfile.gettempdir()}
    places = [place for place in places if len(place) > 2]
    found = []
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            text = _visible_text(output)
            what = [
                f"shows a path of this machine ({place})" for place in places if place + "/" in text
            ]
            if output.output_type == "error":
                what.append("ends in an error")
            if output.get("name") == "stderr" and re.search(r"Warning|Error|Traceback", text):
                what.append(f"ends in a warning: {text.strip().splitlines()[0][:100]!r}")
            if _TIME_STAMP.search(text):
                what.append("shows a time stamp")
            found += [f"cell {number} ({cell.source.splitlines()[0][:60]!r}) {w}" for w in what]
    return found


def _visible_text(output):
    data = output.get("data", {})
    parts = [output.get("text", "")] + [
        str(v) for kind, v in data.items() if not kind.startswith("image/")
    ]
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "base64,", "\n".join(parts))
