"""What `AttackLab` computes and shows: an image, its perturbation, and the ranked lists before and after."""

import dataclasses

import numpy as np
from PIL import Image

from ..attacks import PGD, Away, Misrank, Towards, attackable, embed_pixels, to_pixels
from ..plots.style import PLAIN, VERDICTS, describe, safe_text, verdict_mark
from ..ranking import Ranking
from .results import find

MOST = 512  # pixels of the longer side of what is attacked; the networks look at fewer
AIMS = ("leave its place", "a wrong image first", "the target first")


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """One attack, done.

    Attributes
    ----------
    clean, attacked, amplified : ndarray (h, w, 3), uint8
        The query, what a file of the attacked one holds, and their difference, grey where there is none.
    gain : float
        What the difference was multiplied by.
    before, after : Found
    cosine : float
        Between the embeddings before and after.
    largest : int
        Grey levels that a channel of a pixel changed by, at most.
    target : tuple (str, int, int) or None
        Its id, and its rank before and after.
    """

    clean: np.ndarray
    attacked: np.ndarray
    amplified: np.ndarray
    gain: float
    before: object
    after: object
    cosine: float
    largest: int
    target: tuple | None

    @property
    def words(self):
        """One sentence: what it took and what it did."""
        rank = (
            ""
            if self.target is None
            else f"; target from rank {self.target[1]} to {self.target[2]}"
        )
        return f"Changed by at most {self.largest} of 255 grey levels, cosine to itself {self.cosine:.3f}{rank}"


class Victim:
    """A fitted retriever with a deep encoder, ready to be attacked."""

    def __init__(self, retriever):
        self.images = retriever.images
        self.encoder = retriever.encoder_
        self.model = attackable(self.encoder)
        rows = np.asarray(retriever.embeddings)
        self.rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def attack(self, clean, query, settings, judge):
        """The attacked picture, RGB uint8 (h, w, 3)."""
        pixels = to_pixels([clean])
        goal = self._goal(pixels, query, settings["aim"], settings["target"], judge)
        return PGD(settings["epsilon"] / 255, steps=settings["steps"])(
            self.model, pixels, goal
        ).images[0]

    def _goal(self, pixels, query, aim, target, judge):
        if aim == AIMS[0]:
            return Away(embed_pixels(self.model, pixels))
        if aim == AIMS[2]:
            return Towards(self.rows[self.images.positions([target])])
        verdicts, _ = judge.verdicts(query, self.images, list(self.images.ids))
        verdicts = np.array(verdicts)
        if not {"right", "wrong"} <= set(verdicts):
            raise ValueError("of this query it is not known what is right; choose another aim")
        return Misrank(self.rows, verdicts[None] == "right", verdicts[None] == "junk")

    def embed(self, image):
        """Embedding (d,) of length 1 of an RGB uint8 image, by the encoder itself."""
        row = self.encoder.transform([image])[0]
        return row / max(np.linalg.norm(row), 1e-12)

    def found(self, query, row, k, judge, thumbnails):
        """What an embedding finds in the query's place."""
        return find(
            _Fixed(self.images, self.rows, row), query, k, judge=judge, thumbnails=thumbnails
        )

    def rank(self, row, target, own):
        """Rank of the target for an embedding; the query itself is not counted."""
        cosines = self.rows @ row
        better = cosines > cosines[self.images.positions([target])[0]]
        if own is not None:
            better[own] = False
        return int(better.sum()) + 1


class _Fixed:
    """A retriever that answers any query as if it had one given embedding."""

    def __init__(self, images, rows, row):
        self.images, self._distances = images, 1 - rows @ row

    def search(self, query, k):
        name = (
            query if isinstance(query, str) else query.ids[0] if hasattr(query, "ids") else "query"
        )
        return Ranking.from_distances(
            self._distances[None], [name], self.images.ids, k=k, exclude_self=True
        )


def fitting(image):
    """An image, made smaller where its longer side exceeds `MOST` pixels."""
    if max(image.shape[:2]) <= MOST:
        return image
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((MOST, MOST))
    return np.asarray(picture)


def attack_once(victim, query, settings, judge, thumbnails):
    """Attack one query and look at what it then finds.

    Parameters
    ----------
    victim : Victim
    query : Query
    settings : dict with aim, target, epsilon (grey levels), steps and k
    judge : Judge
    thumbnails : ThumbnailCache

    Returns
    -------
    Shown
    """
    clean, target = fitting(query.pixels()), settings["target"]
    own = None
    if query.images is not None and query.box is None and query.name in victim.images.table.index:
        own = int(victim.images.positions([query.name])[0])
    if settings["aim"] == AIMS[2] and (target is None or target == query.name):
        raise ValueError("choose a target other than the query: click on a result")
    attacked = victim.attack(clean, query, settings, judge)
    rows = [victim.embed(clean), victim.embed(attacked)]
    found = [victim.found(query, row, settings["k"], judge, thumbnails) for row in rows]
    change = attacked.astype(int) - clean.astype(int)
    largest = int(np.abs(change).max())
    gain = 127 / max(largest, 1)
    amplified = np.clip(127.5 + gain * change, 0, 255).astype(np.uint8)
    told = None
    if settings["aim"] == AIMS[2]:
        told = (target, *(victim.rank(row, target, own) for row in rows))
    return Shown(clean, attacked, amplified, gain, *found, float(rows[0] @ rows[1]), largest, told)


def draw_attack(shown, heading):
    """The three pictures and the two lists as a matplotlib figure, closed for pyplot."""
    import matplotlib.pyplot as plt

    n = max(len(shown.before.tiles), 1)
    fig = plt.figure(figsize=(max(1.25 * n, 6.6), 5.6))
    plt.close(fig)
    grid = fig.add_gridspec(
        3, 1, height_ratios=[1.7, 1, 1], left=0.02, right=0.98, top=0.9, bottom=0.02, hspace=0.28
    )
    fig.text(0.02, 0.975, safe_text(heading, 110), fontsize=9, weight="bold", va="center", **PLAIN)
    pictures = grid[0].subgridspec(1, 3)
    names = ("query", f"perturbation × {shown.gain:.0f}", "attacked query")
    for cell, pixels, name in zip(
        pictures, (shown.clean, shown.amplified, shown.attacked), names, strict=True
    ):
        ax = fig.add_subplot(cell)
        ax.imshow(pixels)
        ax.set_title(name, fontsize=9)
        ax.axis("off")
    for cell, found, name in ((grid[1], shown.before, "before"), (grid[2], shown.after, "after")):
        _draw_list(fig.add_subplot(cell), found, name, n)
    lists = (
        f"{name}: {'; '.join(tile.alt for tile in one.tiles)}"
        for name, one in (("Before", shown.before), ("After", shown.after))
    )
    describe(fig.axes[0], f"Attack lab. {heading} {shown.words}. {'. '.join(lists)}.")
    return fig


def _draw_list(ax, found, name, n):
    from matplotlib.patches import Rectangle

    from .picture import _place

    ax.set(xlim=(0, n), ylim=(1.12, -0.04), aspect="equal")
    ax.axis("off")
    ax.set_title(f"{name}: {found.judged or 'what it finds'}", fontsize=9, loc="left", **PLAIN)
    for i, tile in enumerate(found.tiles):
        _place(ax, tile.image, i + 0.06, 0.03, 0.86)
        colour, line, mark, _ = VERDICTS[tile.mark or "unknown"]
        frame = {"fill": False, "ec": colour, "ls": line, "lw": 2 if mark else 0.6, "zorder": 3}
        ax.add_patch(Rectangle((i + 0.04, 0.01), 0.9, 0.9, **frame))
        verdict_mark(ax, tile.mark or "unknown", (i + 0.86, 0.1), size=7)
        ax.text(i + 0.06, 0.95, f"{tile.rank}.  {tile.note}", fontsize=7, va="top", **PLAIN)
    ax.set(xlim=(0, n), ylim=(1.12, -0.04))
