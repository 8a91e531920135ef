"""The README's pictures: taken from the notebooks' own outputs, of the cells tagged ``gallery``."""

import base64
import html
import textwrap

from cbirkit._atomic import write_bytes

FIRST = ("00_start_here", "24_your_own_dataset")  # on the README's first screen


def pictures(built, stem):
    """Pictures (name, PNG bytes) of the tagged cells of a built notebook, in order."""
    tagged = (c for c in built.cells if "gallery" in c.metadata.get("tags", []))
    found = (
        output["data"]["image/png"]
        for cell in tagged
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    )
    return [(f"{stem}_{n}.png", base64.b64decode(png)) for n, png in enumerate(found, start=1)]


def refresh(built, stem, root, *, write=True):
    """Bring ``docs/images`` up to date with one notebook; return True if it was so before."""
    same = True
    for name, png in pictures(built, stem):
        path = root / "docs" / "images" / name
        if not path.exists() or path.read_bytes() != png:
            same = False
            if write:
                write_bytes(path, png)
    return same


def readme_tables(notebooks):
    """What stands between the README's markers: HTML tables of pictures, each a link to its notebook.

    Parameters
    ----------
    notebooks : dict of str to notebook
        Built notebooks by stem, in order.

    Returns
    -------
    dict of str to str
        ``first``: two large pictures; ``gallery``: the other notebooks', three a row.
    """
    shown = {
        stem: cell for stem, built in notebooks.items() for cell in _first_picture(built, stem)
    }
    first = [_cell(*shown[stem], width=400) for stem in FIRST if stem in shown]
    others = [_cell(*cell, width=270) for stem, cell in shown.items() if stem not in FIRST]
    return {"first": _table(first, 2), "gallery": _table(others, 3)}


def _first_picture(built, stem):
    """Stem and alternative text of a notebook's first picture: a list of one pair, or of none."""
    tagged = (cell for cell in built.cells if "gallery" in cell.metadata.get("tags", []))
    found = (
        output
        for cell in tagged
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    )
    return [(stem, output.metadata.get("image/png", {}).get("alt", "")) for output in found][:1]


def _table(cells, columns):
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return "\n".join(
        ["<table>", *(f"<tr>\n{chr(10).join(row)}\n</tr>" for row in rows), "</table>"]
    )


def _cell(stem, alt, *, width):
    number, _, words = stem.partition("_")
    link, alt = f"notebooks/{stem}.ipynb", html.escape(textwrap.shorten(alt, 160, placeholder=" …"))
    picture = (
        f'<a href="{link}"><img src="docs/images/{stem}_1.png" width="{width}" alt="{alt}"></a>'
    )
    return f'<td align="center" valign="top">{picture}<br><a href="{link}">{number} · {words.replace("_", " ")}</a></td>'
