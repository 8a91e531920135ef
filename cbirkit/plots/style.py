"""Colours, marks, safe text and alternative text shared by the plots."""

import io
import sys
import unicodedata

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.path import Path

# Okabe and Ito (2008), Color universal design: they stay apart for every common kind of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"  # their yellow is too faint on white
GREY = "#6E6E6E"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))

# A tick as a closed outline, so that no font has to hold the sign.
TICK = Path(np.reshape([-9, -1, -6, 2, -2.5, -2, 6, 7.5, 9, 4.5, -2.5, -8, -9, -1], (7, 2)) / 10)
# What a result is: (colour of its frame, line style of its frame, mark, words for the legend).
VERDICTS = {
    "right": (GREEN, "-", TICK, "relevant"),
    "wrong": (VERMILLION, (0, (4, 2)), "X", "not relevant"),
    "junk": (GREY, ":", "_", "junk, not counted"),
    "unknown": (GREY, "-", None, "not judged"),
}
# Text of file names is never read as mathematics.
PLAIN = {"parse_math": False, "usetex": False}


def safe_text(value, width=28):
    """Text that is fit to be drawn: one line, no control or broken characters, shortened in the middle.

    Parameters
    ----------
    value : object
        Anything; its ``str`` is used.
    width : int
        Most characters to keep, at least 3.

    Returns
    -------
    str

    Examples
    --------
    >>> safe_text("holiday/2019/very_long_name_0001.jpg", 16)
    'holiday/…001.jpg'
    >>> safe_text("two" + chr(10) + "lines")
    'two lines'
    """
    text = " ".join(str(value).split())
    # Cs are the lone surrogates of undecodable file names, Cf holds the signs that turn text round.
    text = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in text)
    width = max(int(width), 3)
    if len(text) <= width:
        return text
    head = width // 2
    return text[:head] + "…" + text[len(text) - (width - head - 1) :]


def plain_legend(ax, **look):
    """The legend of `ax`, whose texts are drawn as they stand, a ``$`` included."""
    legend = ax.legend(**look)
    for text in legend.get_texts():
        text.set(**PLAIN)
    return legend


def describe(target, text):
    """Attach a plain-language description to an Axes or Figure, read back by `alt_text`.

    Parameters
    ----------
    target : matplotlib.axes.Axes or matplotlib.figure.Figure
    text : str

    Returns
    -------
    Axes or Figure
        `target`.

    Examples
    --------
    >>> ax = Figure().subplots()
    >>> alt_text(describe(ax, "Three bars; the second is the highest."))
    'Three bars; the second is the highest.'
    """
    # An artist's label is free text that nothing draws by itself.
    target.set_label(" ".join(str(text).split()))
    return target


def alt_text(target):
    """The description of an Axes, or of all Axes of a Figure, for people who cannot see it.

    Parameters
    ----------
    target : matplotlib.axes.Axes or matplotlib.figure.Figure

    Returns
    -------
    str
        Empty where nothing was described.

    Examples
    --------
    >>> alt_text(Figure().subplots())
    ''
    """
    parts = [target, *target.axes] if isinstance(target, Figure) else [target]
    texts = [str(part.get_label()) for part in parts]
    return " ".join(text for text in texts if text and not text.startswith("<"))


def show(target, *, dpi=80):
    """Display a figure in a notebook as a PNG that carries its description as alternative text.

    The figure is closed, so that the notebook does not draw it a second time. Put it last in a cell in place
    of the bare Axes; outside IPython it does nothing but return the PNG's bytes.

    Parameters
    ----------
    target : matplotlib.axes.Axes or matplotlib.figure.Figure
    dpi : float
        Pixels per inch.

    Returns
    -------
    bytes or None
        The PNG where there is no IPython, else None.

    Examples
    --------
    >>> show(Figure(figsize=(1, 1)).subplots())[1:4]
    b'PNG'
    """
    figure = target if isinstance(target, Figure) else target.get_figure(root=True)
    text = alt_text(figure)
    buffer = io.BytesIO()
    # No software or date stamp: the same figure is the same bytes.
    metadata = {"Software": None, "Description": text or None}
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata=metadata)
    plt.close(figure)
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return buffer.getvalue()
    bundle = {"image/png": buffer.getvalue(), "text/plain": text}
    ipython.display.display(bundle, raw=True, metadata={"image/png": {"alt": text}})


def new_axes(ax, figsize):
    """`ax` itself, or the Axes of a new figure of `figsize` inches."""
    if ax is None:
        return plt.subplots(figsize=figsize, layout="constrained")[1]
    if not hasattr(ax, "imshow"):
        raise TypeError(f"ax must be an Axes as of plt.subplots(), got {type(ax).__name__}")
    return ax
