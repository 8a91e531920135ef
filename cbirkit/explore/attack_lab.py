"""`AttackLab`: choose a query, an aim and a bound, and see what a perturbation does to the ranked list."""

from ipywidgets import Box, Button, Dropdown, IntSlider, Layout, VBox

from .attack_view import AIMS, Victim, attack_once, draw_attack, fitting
from .explorer import Explorer
from .judge import Judge
from .picker import ImagePicker
from .queries import as_query
from .results import checked_retrievers
from .status_line import StatusLine
from .thumbnails import ThumbnailCache, encode
from .tile_grid import Tile, TileGrid

MOST_LEVELS = 64


class AttackLab(Explorer):
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
    target : str, optional
        Id of an indexed image; default the one that the query finds last of the `k`.
    aim : {"leave its place", "a wrong image first", "the target first"}
    epsilon : int
        Bound in grey levels of 255.
    steps, k : int
        Steps of the attack; results to show.
    by : str, optional
        Column that a right result shares with the query. Default: ``instance`` if there, else ``label``.
    relevance : Relevance, optional
        Says what is right, instead of `by`.

    Attributes
    ----------
    shown : cbirkit.explore.attack_view.Shown
        What was done last.

    Raises
    ------
    TypeError, ValueError
        No retriever, one without gradients, an unknown query, target, aim or column, a number out of range.

    Examples
    --------
    >>> AttackLab(retriever, epsilon=4)                                   # doctest: +SKIP
    """

    def __init__(
        self, retriever, *, queries=None, query=None, target=None, aim=AIMS[0], epsilon=4, steps=10, k=6, by=None,
        relevance=None,
    ):  # fmt: skip
        self._retrievers = checked_retrievers(retriever)
        self._victims = {}
        first = next(iter(self._retrievers.values())).images
        self.queries = first if queries is None else queries
        if not len(self.queries):
            raise ValueError(
                "there are no images to pick a query from; pass queries=, a collection with images"
            )
        self._judge, self._thumbnails = Judge(by, relevance), ThumbnailCache()
        self._query = as_query(
            self.queries.ids[0] if query is None else query, [self.queries, first]
        )
        self._target = target
        self._check(aim, epsilon, steps, k)
        self._k = int(k)
        self._make_parts(aim, int(epsilon), int(steps))
        super().__init__(self._arranged())
        self.add_class("cbk-explorer")
        self._attack()
        self._connect()

    # ------------------------------------------------------------------ for use from Python

    @property
    def query(self):
        """Id or name of the query."""
        return self._query.name

    @property
    def target(self):
        """Id of the target."""
        return self._target

    def attack(self, query=None, *, target=None, aim=None, epsilon=None, steps=None):
        """Change some of the settings, attack, and return what is then shown.

        Returns
        -------
        cbirkit.explore.attack_view.Shown

        Raises
        ------
        ValueError
            As for the class; nothing changes then.
        """
        before = self._query, self._target, self._aim.value, self._epsilon.value, self._steps.value
        wanted = [
            b if a is None else a for a, b in zip((aim, epsilon, steps), before[2:], strict=True)
        ]
        self._check(*wanted, self._k)
        try:
            if query is not None:
                self._query = as_query(query, [self.queries, self._victim().images])
            self._target = self._target if target is None else target
            self._set(*wanted)
            self._attack()
        except Exception:
            self._query, self._target = before[:2]
            self._set(*before[2:])
            raise
        return self.shown

    def static(self):
        """The view as a picture, for places that run no JavaScript.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return draw_attack(self.shown, self._heading())

    def __repr__(self):
        return f"AttackLab({', '.join(self._retrievers)}; {self._heading()})"

    # ------------------------------------------------------------------ what it is made of

    def _make_parts(self, aim, epsilon, steps):
        self._status = StatusLine()
        self._picker = ImagePicker(
            self.queries, self._thumbnails, column=self._judge.column(self.queries)
        )
        self._pictures = TileGrid(tile_size=150, heading="The attack")
        self._lists = [TileGrid(tile_size=104, heading=name) for name in ("Before", "After")]
        names = list(self._retrievers)
        self._name = Dropdown(options=names, value=names[0], description="network")
        self._aim = Dropdown(options=AIMS, value=aim, description="aim")
        slider = {"continuous_update": False}
        self._epsilon = IntSlider(epsilon, 0, MOST_LEVELS, description="epsilon / 255", **slider)
        self._steps = IntSlider(steps, 0, max(50, steps), description="steps", **slider)
        self._again = Button(description="Attack again", tooltip="With the settings as they are")
        for control in (self._name, self._aim, self._epsilon, self._steps):
            control.layout = Layout(width="auto")
            control.style.description_width = "86px"

    def _arranged(self):
        controls = VBox([self._name, self._aim, self._epsilon, self._steps, self._again]).add_class(
            "cbk-controls"
        )
        panel = Box([controls]).add_class("cbk-panel")
        lists = Box([self._pictures, *self._lists]).add_class("cbk-lists")
        return [self._picker, self._status, Box([panel, lists]).add_class("cbk-columns")]

    def _connect(self):
        self._picker.grid.on_pick(lambda image_id: self._guard(lambda: self.attack(image_id)))
        for grid in self._lists:
            grid.on_pick(
                lambda image_id: self._guard(lambda: self.attack(target=image_id, aim=AIMS[2]))
            )
        for control in (self._name, self._aim, self._epsilon, self._steps):
            control.observe(lambda _change: self._guard(self._attack), "value")
        self._again.on_click(lambda _button: self._guard(self._attack))
        self._silent = False

    _silent = True

    def _guard(self, action, *args):
        if not self._silent:
            super()._guard(action, *args)

    def _set(self, aim, epsilon, steps):
        """Move the controls without attacking once for each."""
        silent, self._silent = self._silent, True
        self._steps.max = max(self._steps.max, steps)
        self._aim.value, self._epsilon.value, self._steps.value = aim, int(epsilon), int(steps)
        self._silent = silent

    def _check(self, aim, epsilon, steps, k):
        if aim not in AIMS:
            raise ValueError(f"aim must be one of {', '.join(map(repr, AIMS))}, got {aim!r}")
        for name, value, low, high in (
            ("epsilon", epsilon, 0, MOST_LEVELS),
            ("steps", steps, 0, 1000),
            ("k", k, 1, 48),
        ):
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or value != int(value)
                or not low <= value <= high
            ):
                raise ValueError(
                    f"{name} must be a whole number from {low} to {high}, got {value!r}"
                )

    def _victim(self):
        name = self._name.value
        if name not in self._victims:
            self._victims[name] = Victim(self._retrievers[name])
        return self._victims[name]

    # ------------------------------------------------------------------ attacking and showing

    def _attack(self):
        """Attack first, so that nothing changes on the page if that fails."""
        victim = self._victim()
        if self._target is None:
            own = victim.found(
                self._query,
                victim.embed(fitting(self._query.pixels())),
                self._k,
                self._judge,
                self._thumbnails,
            )
            self._target = own.tiles[-1].id if own.tiles else None
        elif self._target not in victim.images.table.index:
            raise ValueError(
                f"no indexed image has the id {self._target!r}; click on a result to choose one"
            )
        settings = {"aim": self._aim.value, "target": self._target, "k": self._k}
        settings |= {"epsilon": self._epsilon.value, "steps": self._steps.value}
        self.shown = attack_once(victim, self._query, settings, self._judge, self._thumbnails)
        self._show()

    def _show(self):
        shown = self.shown
        pictures = {
            "query": (shown.clean, self.query),
            "perturbation": (shown.amplified, f"perturbation × {shown.gain:.0f}"),
            "attacked": (shown.attacked, "attacked query"),
        }
        self._pictures.show(
            Tile(name, encode(pixels), alt=words, caption=words)
            for name, (pixels, words) in pictures.items()
        )
        for grid, found in zip(self._lists, (shown.before, shown.after), strict=True):
            grid.show(found.tiles, summary=found.judged)
            grid.selected = self._target or ""
        self._picker.grid.selected = self.query if self._query.images is self.queries else ""
        self._status.say(f"{self._heading()} {shown.words}")

    def _heading(self):
        aim = self._aim.value + (f" ({self._target})" if self._aim.value == AIMS[2] else "")
        name = f"{self._name.value}, " if len(self._retrievers) > 1 else ""
        return f"{name}{self.query}: {aim}, epsilon {self._epsilon.value}/255, {self._steps.value} steps."
