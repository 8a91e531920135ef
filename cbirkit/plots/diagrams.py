"""Diagrams of ideas: boxes and arrows, no data."""

from itertools import pairwise

from .style import BLACK, GREY, describe, new_axes, plain_text

_QUESTION = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": BLACK}
_ANSWER = {"boxstyle": "square,pad=0.45", "facecolor": "#DDE9F5", "edgecolor": GREY}


def decision_chain(steps, otherwise, *, ax=None):
    """Draw questions one below the other; each has an answer that leads to the right and one that leads on.

    Parameters
    ----------
    steps : list of (str, str, str)
        Question, the answer that ends it ("yes" or "no"), and the choice that follows from it. Line breaks are kept.
    otherwise : str
        The choice when no question has ended it.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There is no question, or an answer is neither "yes" nor "no".

    Examples
    --------
    >>> ax = decision_chain([("Fewer than 1,000?", "yes", "compare with all")], "build an index")
    >>> ax.texts[-1].get_text()
    'build an index'
    """
    other = {"yes": "no", "no": "yes"}
    if not steps or any(answer not in other for _, answer, _ in steps):
        raise ValueError('steps must be (question, "yes" or "no", choice) and at least one')
    ax = new_axes(ax, (8.4, 1.05 * (len(steps) + 1)))
    arrow = {"arrowstyle": "-|>", "color": BLACK, "shrinkA": 0, "shrinkB": 0}
    for row, (question, answer, choice) in enumerate(steps):
        ax.text(0, -row, question, ha="center", va="center", fontsize=10, bbox=_QUESTION, zorder=3)
        ax.text(1, -row, choice, ha="left", va="center", fontsize=10, bbox=_ANSWER, zorder=3)
        for end in ((0.97, -row), (0, -row - 0.75)):
            ax.annotate("", end, (0, -row), arrowprops=arrow, zorder=1)
        ax.text(0.72, -row + 0.06, answer, ha="center", va="bottom", fontsize=10)
        ax.text(0.03, -row - 0.5, other[answer], ha="left", va="center", fontsize=10)
    ax.text(
        0, -len(steps), otherwise, ha="center", va="center", fontsize=10, bbox=_ANSWER, zorder=3
    )
    plain_text(*ax.texts)
    ax.set(xlim=(-0.75, 2.5), ylim=(-len(steps) - 0.5, 0.5))
    ax.axis("off")
    told = [f"{question} If {answer}: {choice}." for question, answer, choice in steps]
    return describe(ax, " ".join([*told, f"Otherwise: {otherwise}."]))


def pipeline(chains, joined, *, ax=None):
    """Draw chains of steps, one below the other and each from left to right, that meet in one chain.

    Parameters
    ----------
    chains : list of list of str
        The steps of each chain; line breaks are kept.
    joined : list of str
        The steps that follow when they have met.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        A chain has no step.

    Examples
    --------
    >>> ax = pipeline([["query", "vector"], ["database", "vectors"]], ["distances"])
    >>> [text.get_text() for text in ax.texts]
    ['query', 'vector', 'distances', 'database', 'vectors', 'distances']
    """
    if not chains or not joined or not all(chains):
        raise ValueError("chains and joined must hold at least one step each")
    longest, middle = max(map(len, chains)), -(len(chains) - 1) / 2
    width = longest + len(joined)
    ax = new_axes(ax, (1.5 * width, 0.9 * len(chains)))
    look = {"ha": "center", "va": "center", "fontsize": 10, "bbox": _ANSWER}
    after = [(step, (longest + column, middle)) for column, step in enumerate(joined)]
    for row, chain in enumerate(chains):
        steps = [(step, (longest - len(chain) + column, -row)) for column, step in enumerate(chain)]
        steps += after[:1] if row else after
        ax.text(*steps[0][1], steps[0][0], zorder=3 + width, **look)
        for column, ((_, before), (step, place)) in enumerate(pairwise(steps), start=1):
            # The arrow starts under the box before, which is drawn later, and its head is at the box of its own.
            arrow = {"arrowstyle": "<|-", "color": BLACK, "shrinkA": 0, "shrinkB": 0}
            ax.annotate(step, before, place, arrowprops=arrow, zorder=3 + width - column, **look)
    plain_text(*ax.texts)
    ax.set(xlim=(-0.55, width - 0.45), ylim=(0.45 - len(chains), 0.45))
    ax.axis("off")
    told = [", ".join(" ".join(step.split()) for step in chain) for chain in chains]
    return describe(
        ax, f"{'; '.join(told)}. Then: {', '.join(' '.join(step.split()) for step in joined)}."
    )
