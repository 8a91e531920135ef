"""The contact sheet that a collection shows of itself in a notebook: HTML without JavaScript."""

import base64
import html
import io

from PIL import Image

from .files import ImageProblem
from .tables import text_of


def jpeg_bytes(pixels, quality=80):
    """Encode an RGB image (h, w, 3) uint8 as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def data_uri(pixels, quality=80):
    """An RGB image as a ``data:`` address that HTML can show without a file."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_bytes(pixels, quality)).decode()


def sheet_html(images, n=12, size=96):
    """Thumbnails of `n` images spread over a collection, with their labels; all text is escaped."""
    step = max(len(images) / n, 1)
    positions = [int(i * step) for i in range(min(n, len(images)))]
    cells = "".join(_cell(images, position, size) for position in positions)
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cells}</div>'


def _cell(images, position, size):
    name = str(images.ids[position])
    label = text_of(images.table["label"].iloc[position]) if "label" in images.table else name
    try:
        picture = f'<img src="{data_uri(images.thumbnail(position, size))}" alt="{html.escape(name, quote=True)}">'
    except ImageProblem as problem:
        picture = f"<em>{html.escape(problem.reason)}</em>"
    return (
        f'<figure style="margin:0;width:{size}px;text-align:center" title="{html.escape(name, quote=True)}">{picture}'
        f'<figcaption style="font-size:11px;overflow-wrap:anywhere">{html.escape(label)}</figcaption></figure>'
    )
