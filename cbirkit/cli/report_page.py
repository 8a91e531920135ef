"""The page of ``cbirkit report``: what `survey` found, for someone who has no Python."""

import contextlib
import datetime
from collections import Counter

from .. import __version__
from .choices import recipe
from .pages import POLICY, STYLE, breakable, escaped, picture_html, picture_or_none
from .say import counted

_MORE_STYLE = """
h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse}
td,th{padding:.15rem .6rem;text-align:left;font-variant-numeric:tabular-nums}
.bar{display:inline-block;height:.8em;background:#4477aa;vertical-align:middle}
.group{border-left:4px solid #8888;padding-left:.8rem;margin:.8rem 0}
ol.small{grid-template-columns:repeat(auto-fill,minmax(8rem,1fr))}
.small .picture{height:8rem}
"""
_SIDE, _SHEET, _GROUPS, _IN_GROUP, _PROBLEMS = 160, 24, 12, 8, 200
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def report_page(folder, found, encoder):
    """One page that opens from disk and loads nothing else; all text is escaped.

    Parameters
    ----------
    folder : str
    found : cbirkit.evaluation.Survey
    encoder : str
        What the outliers were found with.

    Returns
    -------
    str
    """
    parts = [
        _lead(found),
        _numbers(found),
        _classes(found),
        _sheet(found),
        _outliers(found, encoder),
        _broken(found),
    ]
    parts[4:4] = [
        _grouped(found, found.copies, "Copies", "The same file, byte for byte"),
        _grouped(
            found,
            found.near_copies,
            "Near-copies",
            "They look alike, pixel for pixel; look before you delete",
        ),
    ]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>Images in {escaped(folder)}</title><style>{STYLE}{_MORE_STYLE}</style></head>
<body><h1>Images in {escaped(folder)}</h1>
{"".join(parts)}
<footer>Made by cbirkit {__version__} on {datetime.date.today().isoformat()}. This file holds small copies of some of the images: mind who may see them.</footer></body></html>
"""


def _lead(found):
    """The whole in a few words."""
    n_classes, broken = len(found.class_counts()), len(found.problems)
    text = counted(len(found.table), "image")
    text += f" in {counted(n_classes, 'class', 'classes')}" if n_classes else ""
    text += f", {_size(sum(_bytes(found)))} on disk. "
    text += f"{counted(broken, 'file')} cannot be read. " if broken else "Every file can be read. "
    seen = [(len(found.copies), "copies"), (len(found.near_copies), "near-copies")]
    told = [f"{counted(n, 'group')} of {what}" for n, what in seen if n]
    return f"<p>{text}{' and '.join(told) if told else 'No copies'}.</p>\n"


def _bytes(found):
    """Sizes of the files that can be read."""
    sizes = []
    for name in found.table.index:
        with contextlib.suppress(OSError):
            sizes.append(found.images.path(name).stat().st_size)
    return sizes


def _size(n_bytes):
    return next(
        (f"{n_bytes / one:,.1f} {unit}" for unit, one in _UNITS if n_bytes >= one),
        f"{n_bytes:,} bytes",
    )


def _span(values):
    low, high = values.min(), values.max()
    return (
        f"{low} pixels" if low == high else f"{low} to {high} pixels, median {values.median():.0f}"
    )


def _groups_of(groups):
    return f"{len(groups):,}, with {counted(sum(map(len, groups)), 'image')}" if groups else "none"


def _numbers(found):
    sizes = found.table[["width", "height"]]
    types = Counter(str(name).rpartition(".")[2].lower() for name in found.table.index)
    shapes = sizes.value_counts()
    (width, height), count = shapes.index[0], shapes.iloc[0]
    lines = {
        "images that can be read": f"{len(found.table):,}",
        "files that cannot": f"{len(found.problems):,}",
        "file types": ", ".join(f"{n:,} {kind}" for kind, n in types.most_common()),
        "width": _span(sizes["width"]),
        "height": _span(sizes["height"]),
        "most frequent size": f"{width} × {height}: {counted(count, 'image')}",
        "groups of copies": _groups_of(found.copies),
        "groups of near-copies": _groups_of(found.near_copies),
    }
    rows = "".join(
        f"<tr><th scope=row>{name}</th><td>{escaped(value)}</td></tr>"
        for name, value in lines.items()
    )
    return f"<table>{rows}</table>\n"


def _classes(found):
    counts = found.class_counts()
    if not len(counts):
        return "<h2>Classes</h2><p>No two sub-folders and no file of labels (--labels), so no classes.</p>\n"
    most = counts.iloc[0]
    rows = "".join(
        f'<tr><th scope=row>{escaped(name)}</th><td>{n:,}</td><td><span class="bar" style="width:{20 * n / most:.1f}rem"></span></td></tr>'
        for name, n in counts.items()
    )
    each = f"{most:,}" if counts.iloc[-1] == most else f"{counts.iloc[-1]:,} to {most:,}"
    title = f"{counted(len(counts), 'class', 'classes')}, {each} images each"
    without = len(found.table) - counts.sum()
    note = f"<p>{counted(without, 'image')} without a class.</p>" if without else ""
    return f"<h2>{title}</h2><table>{rows}</table>{note}\n"


def _sheet(found):
    step = max(len(found.table) / _SHEET, 1)
    ids = [found.table.index[int(i * step)] for i in range(min(_SHEET, len(found.table)))]
    return f"<h2>A sample, evenly spaced</h2>{_tiles(found, ids)}"


def _grouped(found, groups, title, meaning):
    if not groups:
        return f"<h2>{title}</h2><p>None.</p>\n"
    shown = "".join(
        f'<div class="group">{_tiles(found, group[:_IN_GROUP])}{_more(len(group) - _IN_GROUP, "in this group")}</div>'
        for group in groups[:_GROUPS]
    )
    return f"<h2>{title}: {counted(len(groups), 'group')}</h2><p>{meaning}.</p>{shown}{_more(len(groups) - _GROUPS, 'groups')}\n"


def _outliers(found, encoder):
    ids = found.outliers[
        : len(found.table) // 5
    ]  # of a few images all would be shown, and none be unlike the others
    if not ids:
        return ""
    distance = found.table["distance"]
    tiles = _tiles(found, ids, {name: f"distance {distance[name]:.3f}" for name in ids})
    words = escaped(f"{encoder} ({recipe(encoder)[2].split(';')[0]})")
    meaning = "The images with the least alike around them: strange ones, but also the only ones of their kind."
    how = f"Alike is what the encoder {words} takes for it; of all images, the middle one has the distance {distance.median():.3f}."
    return f"<h2>Unlike all others</h2><p>{meaning} {how}</p>{tiles}"


def _broken(found):
    if not len(found.problems):
        return "<h2>Files that cannot be read</h2><p>None.</p>\n"
    rows = [
        f"<tr><td>{escaped(row.name)}</td><td>{escaped(row.reason)}</td></tr>"
        for row in found.problems.itertuples(index=False)
    ]
    head = "<table><tr><th>file</th><th>reason</th></tr>"
    rest = f"<details><summary>and {len(rows) - _PROBLEMS:,} more files</summary>{head}{''.join(rows[_PROBLEMS:])}</table></details>"
    return f"<h2>Files that cannot be read</h2>{head}{''.join(rows[:_PROBLEMS])}</table>{rest * (len(rows) > _PROBLEMS)}\n"


def _more(number, what):
    return f"<p>and {number:,} more {what}</p>" if number > 0 else ""


def _tiles(found, ids, captions=None):
    tiles = "".join(_tile(found, name, (captions or {}).get(name)) for name in ids)
    return f'<ol class="small">{tiles}</ol>\n'


def _tile(found, name, caption):
    width, height = found.table.loc[name, ["width", "height"]]
    words = [escaped(caption or f"{width} × {height}"), breakable(name)]
    shown = picture_html(picture_or_none(found.images.thumbnail, name, _SIDE), str(name))
    return f"<li><figure>{shown}<figcaption>{'<br>'.join(words)}</figcaption></figure></li>"
