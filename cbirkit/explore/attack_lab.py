"""`AttackLab`: choose a query, an aim and a bound, and see what a perturbation does to the ranked list."""

from dataclasses import dataclass

import numpy as np
from ipywidgets import Dropdown, IntSlider

from cbirkit.attacks import PGD, Away, Misrank, Towards, attackable, embed_pixels, to_pixels
from cbirkit.encoders.base import check_choice, unit
from cbirkit.images.files import shrink
from cbirkit.plots import Section, Tile, View

from .explorer import whole_number
from .queries import FixedRetriever, Judge, SearchResult, checked_retrievers
from .query_explorer import QueryPage
from .widgets import TileGrid, button, labelled

MOST_PIXELS = 512  # of the longer side of what is attacked; the networks look at fewer
MOST_LEVELS = 64
AIMS = ("leave its place", "a wrong image first", "the target first")


@dataclass(frozen=True, eq=False)
class AttackResult:
    """One attack, done.

    Attributes
    ----------
    clean, attacked, amplified : ndarray (h, w, 3), uint8
        The query, what a file of the attacked one holds, and their difference, grey where there is none.
    gain : float
        What the difference was multiplied by.
    before, after : SearchResult
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
    before: SearchResult
    after: SearchResult
    cosine: float
    largest: int
    target: tuple | None

    @property
    def words(self):
        """One sentence: what it took and what it did."""
        rank = "; target from rank {1} to {2}".format(*self.target) if self.target else ""
        return f"Changed by at most {self.largest} of 255 grey levels, cosine to itself {self.cosine:.3f}{rank}"


class Victim:
    """A fitted retriever with a deep encoder, ready to be attacked."""

    def __init__(self, retriever):
        self.images, self.encoder = retriever.images, retriever.encoder_
        self.model, self.rows = attackable(self.encoder), unit(np.asarray(retriever.embeddings))

    def goal(self, pixels, query, aim, target, judge):
        """What the attack tries to reach; ValueError where the query or the target does not allow the aim."""
        if aim == AIMS[0]:
            return Away(embed_pixels(self.model, pixels))
        if aim == AIMS[2]:
            if target in (None, query.name):
                raise ValueError("choose a target other than the query: click on a result")
            return Towards(self.rows[self.images.positions([target])])
        marks = np.array([judge.verdicts(query, self.images, list(self.images.ids))[0]])
        if not {"right", "wrong"} <= set(marks[0]):
            raise ValueError("of this query it is not known what is right; choose another aim")
        return Misrank(self.rows, marks == "right", marks == "junk")

    def embed(self, image):
        """Embedding (d,) of length 1 of an RGB uint8 image, by the encoder itself."""
        return unit(self.encoder.transform([image]))[0]

    def answers(self, row):
        """A retriever that finds what an embedding finds, whatever it is asked for."""
        return FixedRetriever(self.images, 1 - self.rows @ row)

    def rank(self, row, target, query):
        """Rank of the target for an embedding; the query itself is not counted."""
        cosines = self.rows @ row
        better = cosines > cosines[self.images.positions([target])[0]]
        own = query.images is not None and query.box is None
        return int(better[self.images.ids != query.name].sum() if own else better.sum()) + 1


class AttackLab(QueryPage):
    """Attack a query and compare what it finds before and after.

    The query is picked from pages of thumbnails; a click on a result makes it the target. The attack is
    `cbirkit.attacks.PGD` in L-inf, and the list after it is that of the attacked picture as a file would hold it.

    Parameters
    ----------
    retriever : Retriever or dict of Retriever
        Fitted, with `Deep` encoders. Of several, one at a time is attacked.
    queries : ImageCollection, optional
        Default: the images that the (first) retriever has indexed.
    query : str, path, PIL image or array, optional
    aim : {"leave its place", "a wrong image first", "the target first"}
    epsilon : int
        Bound in grey levels of 255.
    steps, k : int
        Steps of the attack; results to show.
    by : str, optional
        Column that a right result shares with the query. Default: ``instance`` if there, else ``label``.

    Attributes
    ----------
    shown : AttackResult
        What was done last.
    target : str
        Id; at first that of the image that the query finds last of the `k`.

    Raises
    ------
    TypeError, ValueError
        No retriever, one without gradients, an unknown query, target, aim or column, a number out of range.

    Examples
    --------
    >>> AttackLab(retriever, epsilon=4)                                   # doctest: +SKIP
    """

    def __init__(
        self, retriever, *, queries=None, query=None, aim=AIMS[0], epsilon=4, steps=10, k=6, by=None
    ):
        self._retrievers = checked_retrievers(retriever)
        self._victims = {name: Victim(one) for name, one in self._retrievers.items()}
        self._judge, self._k = Judge(by), whole_number(k, "k", 1, 48)
        self._name = Dropdown(options=list(self._victims), description="network")
        self._aim = Dropdown(options=AIMS, description="aim")
        slider = {"min": 0, "continuous_update": False}
        self._epsilon = IntSlider(max=MOST_LEVELS, description="epsilon / 255", **slider)
        self._steps = IntSlider(max=50, description="steps", **slider)
        controls = [self._name, self._aim, self._epsilon, self._steps]
        tip = "With the settings as they are"
        self._button = button("Attack again", tip, self._guarded(self.attack))
        self._pictures = TileGrid(tile_size=150, heading="The attack")
        self._results = [TileGrid(tile_size=104, heading=name) for name in ("Before", "After")]
        grids = [self._pictures, *self._results]
        shown = [*(labelled(one, label="86px") for one in controls), self._button]
        self._make_page(queries, self.attack, grids=grids, controls=shown)
        self.target = None
        self.attack(self._as_query(query), aim=aim, epsilon=epsilon, steps=steps)
        for grid in self._results:
            grid.on("pick", self._guarded(lambda name: self.attack(target=name, aim=AIMS[2])))
        self._on_value(controls, self._guarded(self.attack))

    # ------------------------------------------------------------------ for use from Python

    def attack(self, query=None, *, target=None, aim=None, epsilon=None, steps=None):
        """Change some of the settings, attack, and return what is then shown.

        Returns
        -------
        AttackResult

        Raises
        ------
        ValueError
            As for the class; nothing changes then.
        """
        query = self._query if query is None else self._as_query(query)
        given = {self._aim: aim, self._epsilon: epsilon, self._steps: steps}
        aim, epsilon, steps = (one.value if it is None else it for one, it in given.items())
        self.shown, self.target = self._attacked(query, target, aim, epsilon, steps)
        with self._quietly():
            self._steps.max = max(self._steps.max, steps)
            self._aim.value, self._epsilon.value, self._steps.value = aim, epsilon, steps
        self._mark_query(query)
        self._pictures.show(self._tiles())
        for grid, found in zip(self._results, (self.shown.before, self.shown.after), strict=True):
            grid.show(found.tiles, summary=found.judged, selected=self.target or "")
        self._status.say(f"{self._heading()} {self.shown.words}")
        return self.shown

    # ------------------------------------------------------------------ attacking and showing

    def _attacked(self, query, target, aim, epsilon, steps):
        """The `AttackResult`, and the target: what is given, else the one before, else the last result."""
        check_choice("aim", aim, AIMS)
        whole_number(epsilon, "epsilon", 0, MOST_LEVELS)
        whole_number(steps, "steps", 0, 1000)
        victim, clean = self._victims[self._name.value], shrink(query.pixels(), MOST_PIXELS)
        before = victim.embed(clean)
        found = self._find(victim.answers(before), query, self._k)
        last = found.tiles[-1].id if found.tiles else None
        target = target or self.target or last
        if target is not None and target not in victim.images.table.index:
            raise ValueError(f"no indexed image has the id {target!r}; click on a result")
        pixels = to_pixels([clean])
        goal = victim.goal(pixels, query, aim, target, self._judge)
        attacked = PGD(epsilon / 255, steps=int(steps))(victim.model, pixels, goal).images[0]
        after = victim.embed(attacked)
        change, ranks = attacked.astype(int) - clean.astype(int), None
        largest = int(np.abs(change).max())
        gain = 127 / max(largest, 1)
        amplified = np.clip(127.5 + gain * change, 0, 255).astype(np.uint8)
        if aim == AIMS[2]:
            ranks = target, *(victim.rank(row, target, query) for row in (before, after))
        now, cosine = self._find(victim.answers(after), query, self._k), float(before @ after)
        pictures = clean, attacked, amplified
        return AttackResult(*pictures, gain, found, now, cosine, largest, ranks), target

    def _tiles(self):
        shown, change = self.shown, f"perturbation × {self.shown.gain:.0f}"
        pictures = (shown.clean, shown.amplified, shown.attacked)
        named = zip((self.query, change, "attacked query"), pictures, strict=True)
        return [Tile(name, picture, name, caption=name) for name, picture in named]

    def _heading(self):
        aim = self._aim.value + (f" ({self.target})" if self._aim.value == AIMS[2] else "")
        name = f"{self._name.value}, " if len(self._retrievers) > 1 else ""
        return f"{name}{self.query}: {aim}, epsilon {self._epsilon.value}/255, {self._steps.value} steps."

    def _view(self):
        named = (("Before", self.shown.before), ("After", self.shown.after))
        sections = [Section(name, one.judged, one.tiles) for name, one in named]
        pictures = Section(tiles=self._tiles(), size=2)
        return View("Attack lab", f"{self._heading()} {self.shown.words}", [pictures, *sections])
