"""What a search found, as a table, as JSON and as one self-contained HTML page."""

import base64
import errno
import html
import io
import json
import os
import re

from .._atomic import expanded, write_bytes
from .say import Failure, printable

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # nothing is loaded, nothing runs
STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem auto;padding:0 1.5rem;max-width:80rem}
h1{font-size:1.2rem}
ol{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem;padding:0;list-style:none}
figure{margin:0}
.picture{height:11rem;display:flex;align-items:center;justify-content:center;background:#8882;border-radius:.3rem}
.picture img{max-width:100%;max-height:100%}
.query{width:14rem}
.query .picture{outline:3px double;outline-offset:2px}
figcaption{font-size:.85rem;overflow-wrap:anywhere;margin-top:.3rem}
footer{font-size:.8rem;opacity:.75;margin-top:2rem}
"""


def table_lines(rows):
    """Lines of text: rank, distance, label where there are any, name.

    Parameters
    ----------
    rows : list of dict with rank, distance, label, id

    Returns
    -------
    list of str

    Examples
    --------
    >>> table_lines([{"rank": 1, "distance": 0.25, "label": None, "id": "a.jpg"}])
    ['rank  distance  name', '   1    0.2500  a.jpg']
    """
    labels = [printable(row["label"]) if row["label"] is not None else "" for row in rows]
    width = max(map(len, [*labels, "label"])) if any(labels) else 0
    head = "rank  distance  " + (f"{'label':<{width}}  " if width else "") + "name"
    lines = [head]
    for row, label in zip(rows, labels, strict=True):
        middle = f"{label:<{width}}  " if width else ""
        lines.append(f"{row['rank']:>4}  {row['distance']:>8.4f}  {middle}{printable(row['id'])}")
    return lines


def as_json(found):
    """The whole of what was found, as indented JSON in plain ASCII."""
    return json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False)


def html_page(found, thumbnails):
    """One page that opens from disk and loads nothing else: thumbnails are inside, all text is escaped.

    Parameters
    ----------
    found : dict
        query, folder, encoder, index and results (rank, distance, label, id).
    thumbnails : list of uint8 arrays (h, w, 3) or None
        The query's first, then one a result; None where an image cannot be read.

    Returns
    -------
    str
    """
    query, *pictures = thumbnails
    tiles = "\n".join(
        _tile(row, picture) for row, picture in zip(found["results"], pictures, strict=True)
    )
    name = escaped(found["query"])
    how = escaped(
        f"{found['folder']}: encoder {found['encoder']}, index {found['index']}, smaller distance is nearer"
    )
    shown = picture_html(query, "the query, " + found["query"])
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>Images like {name}</title><style>{STYLE}</style></head>
<body><h1>Images that look like {name}</h1>
<figure class="query">{shown}<figcaption>query: {name}</figcaption></figure>
<ol>
{tiles}
</ol>
<footer>{how}. Made by cbirkit.</footer></body></html>
"""


def _tile(row, picture):
    label = f"<br>{escaped(row['label'])}" if row["label"] is not None else ""
    caption = f"{row['rank']}. distance {row['distance']:.4f}{label}<br>{breakable(row['id'])}"
    shown = picture_html(picture, f"result {row['rank']}, {row['id']}")
    return f"<li><figure>{shown}<figcaption>{caption}</figcaption></figure></li>"


def picture_or_none(read, *args):
    """A thumbnail, or None where the image cannot be read (any more)."""
    from ..images import ImageProblem

    try:
        return read(*args)
    except (ImageProblem, OSError):
        return None


def picture_html(picture, alt):
    """A thumbnail (h, w, 3) uint8 inside the page, or words where there is none."""
    if picture is None:
        return '<div class="picture">cannot be read</div>'
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<div class="picture"><img alt="{escaped(alt)}" src="data:image/jpeg;base64,{data}"></div>'
    )


def check_place(path, option="--html FILE"):
    """A Failure if no page can be written at `path`: before the work, not after it."""
    path = expanded(path)
    folder = path.parent
    if path.is_dir() or not folder.is_dir():
        raise _cannot_write(path, errno.EISDIR if path.is_dir() else errno.ENOENT, option)
    if not os.access(folder, os.W_OK):
        raise _cannot_write(path, errno.EACCES, option)


def write_page(path, page, option="--html FILE"):
    """Write a page whole or not at all; `option` is what chooses another place.

    Raises
    ------
    Failure
        It cannot be written.
    """
    check_place(path, option)
    try:
        write_bytes(expanded(path), page.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise _cannot_write(path, error.errno, option) from error


def _cannot_write(path, number, option):
    return Failure(
        f"cannot write {path} ({os.strerror(number or 0)}); choose another place with {option}"
    )


def breakable(name):
    """A file's name, escaped, with places where a line may break."""
    return re.sub(r"([/_ -])", r"\1<wbr>", re.sub(r"(\.\w+)$", r"<wbr>\1", escaped(name)))


def escaped(value):
    """Text of anything, escaped for HTML."""
    return html.escape(printable(value), quote=True)
