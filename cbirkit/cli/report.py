"""``cbirkit report``: the first look at a folder of images, as one HTML file."""

from importlib.util import find_spec
from pathlib import Path

from .choices import checked_folder, kept_settings, make_encoder, out_folder
from .pages import POLICY, STYLE, escaped, picture_html
from .say import Failure

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


def report_folder(arguments, printer):
    """Write the page.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, html, out, encoder, quiet.
    printer : cbirkit.cli.say.Printer

    Raises
    ------
    Failure
        There is no such folder, no image in it that can be read, or the page cannot be written.
    """
    from ..evaluation import survey

    images = checked_folder(arguments.folder)
    encoder = arguments.encoder or kept_settings(out_folder(arguments)).get("encoder")
    encoder = encoder or ("deep" if find_spec("torch") else "color+hog")
    path = Path(arguments.html).expanduser()
    try:
        found = survey(images, _fitted(encoder, images), progress=not arguments.quiet)
    except ValueError as error:
        raise Failure(" ".join(str(error).split())) from error
    try:
        path.write_text(
            report_page(str(arguments.folder), found, encoder), encoding="utf-8", errors="backslashreplace"
        )
    except OSError as error:
        raise Failure(
            f"cannot write {path} ({error.strerror}); choose another place with --html FILE"
        ) from error
    printer.note(
        f"{len(found.table):,} images, {len(found.problems)} that cannot be read, {len(found.copies)} groups of copies, "
        f"{len(found.near_copies)} of near-copies"
    )
    printer.result(str(path))


def _fitted(name, images):
    """An encoder for the outliers; one that must learn does so from some of the images."""
    return make_encoder(name).fit(images[:: -(-len(images) // 300)].verify(progress=False))


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
    parts = [_numbers(found), _classes(found), _sheet(found), _outliers(found, encoder), _broken(found)]
    parts[3:3] = [
        _grouped(found, found.copies, "Copies", "The same file, byte for byte"),
        _grouped(
            found,
            found.near_copies,
            "Near-copies",
            "They look alike when shrunk to 8 × 8 cells; look before you delete",
        ),
    ]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>Images in {escaped(folder)}</title><style>{STYLE}{_MORE_STYLE}</style></head>
<body><h1>Images in {escaped(folder)}</h1>
{"".join(parts)}
<footer>Made by cbirkit. This file holds small copies of some of the images: mind who may see them.</footer></body></html>
"""


def _numbers(found):
    sizes = found.table[["width", "height"]]
    shapes = sizes.value_counts()
    (width, height), count = shapes.index[0], shapes.iloc[0]
    lines = {
        "images that can be read": f"{len(found.table):,}",
        "files that cannot": f"{len(found.problems):,}",
        "width": f"{sizes['width'].min()} to {sizes['width'].max()} pixels, median {sizes['width'].median():.0f}",
        "height": f"{sizes['height'].min()} to {sizes['height'].max()} pixels, median {sizes['height'].median():.0f}",
        "most frequent size": f"{width} × {height}: {count:,} images",
        "groups of copies": f"{len(found.copies):,}, with {sum(map(len, found.copies)):,} images",
        "groups of near-copies": f"{len(found.near_copies):,}, with {sum(map(len, found.near_copies)):,} images",
    }
    rows = "".join(f"<tr><th scope=row>{name}</th><td>{value}</td></tr>" for name, value in lines.items())
    return f"<table>{rows}</table>\n"


def _classes(found):
    counts = found.class_counts()
    if not len(counts):
        return "<h2>Classes</h2><p>No sub-folders, so no classes.</p>\n"
    most = counts.iloc[0]
    rows = "".join(
        f'<tr><th scope=row>{escaped(name)}</th><td>{n:,}</td><td><span class="bar" style="width:{20 * n / most:.1f}rem"></span></td></tr>'
        for name, n in counts.items()
    )
    each = f"{most:,}" if counts.iloc[-1] == most else f"{counts.iloc[-1]:,} to {most:,}"
    return f"<h2>{_count(len(counts), 'class', 'classes')}, {each} images each</h2><table>{rows}</table>\n"


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
    return f"<h2>{title}: {_count(len(groups), 'group')}</h2><p>{meaning}.</p>{shown}{_more(len(groups) - _GROUPS, 'groups')}\n"


def _outliers(found, encoder):
    if not found.outliers:
        return ""
    distance = found.table["distance"]
    tiles = _tiles(found, found.outliers, {name: f"distance {distance[name]:.3f}" for name in found.outliers})
    return f"<h2>Unlike all others</h2><p>Farthest from their nearest neighbours as {escaped(encoder)} sees them; the median is {distance.median():.3f}.</p>{tiles}"


def _broken(found):
    if not len(found.problems):
        return "<h2>Files that cannot be read</h2><p>None.</p>\n"
    rows = "".join(
        f"<tr><td>{escaped(row.name)}</td><td>{escaped(row.reason)}</td></tr>"
        for row in found.problems.head(_PROBLEMS).itertuples(index=False)
    )
    more = _more(len(found.problems) - _PROBLEMS, "files")
    return f"<h2>Files that cannot be read</h2><table><tr><th>file</th><th>reason</th></tr>{rows}</table>{more}\n"


def _count(number, one, more=None):
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def _more(number, what):
    return f"<p>and {number:,} more {what}</p>" if number > 0 else ""


def _tiles(found, ids, captions=None):
    tiles = "".join(_tile(found, name, (captions or {}).get(name)) for name in ids)
    return f'<ol class="small">{tiles}</ol>\n'


def _tile(found, name, caption):
    width, height = found.table.loc[name, ["width", "height"]]
    words = [caption or f"{width} × {height}", str(name)]
    shown = picture_html(found.images.thumbnail(name, _SIDE), str(name))
    return f"<li><figure>{shown}<figcaption>{'<br>'.join(map(escaped, words))}</figcaption></figure></li>"
