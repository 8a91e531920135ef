"""What the page of an explorer is made of: scripts and style sheets of this folder, put together."""

from pathlib import Path

_HERE = Path(__file__).parent


def script(*names):
    """One ES module of these files, after ``page.js``, which all share.

    Examples
    --------
    >>> script("status_line.js").startswith("// What the scripts of all explorers begin with.")
    True
    """
    return _joined("page.js", *names)


def style(*names):
    """One style sheet of these files, after ``page.css``, which all share.

    Examples
    --------
    >>> ".cbk-cropper" in style("cropper.css")
    True
    """
    return _joined("page.css", *names)


def _joined(*names):
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
