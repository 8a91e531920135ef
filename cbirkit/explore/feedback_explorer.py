"""`FeedbackExplorer`: mark what you are after, see the list follow, and keep what you like in a profile."""

from copy import deepcopy
from itertools import chain

import numpy as np
from ipywidgets import Box, Dropdown, FloatSlider, Text

from cbirkit.encoders.base import check_choice, check_number
from cbirkit.feedback import FeedbackSearch, Profile
from cbirkit.plots import Section, Tile, View

from .explorer import whole_number
from .queries import THUMBNAIL, Judge, check_type, checked_retrievers, result_tile
from .query_explorer import QueryPage
from .widgets import Cropper, TileGrid, button, labelled

METHODS = {"Rocchio": "rocchio", "logistic regression": "logistic", "SVM": "svm"}
KEYS = {"y": True, "+": True, "n": False, "-": False, "0": None}  # what they mark a picture as
_LOOKS = {True: "right", False: "wrong", None: ""}  # of a marked tile
_AFTER = {None: True, True: False, False: None}  # what a click makes of a mark
_HOW = "Y or click: relevant; N or second click: not; 0: no mark; R: next round; U: undo"


class FeedbackExplorer(QueryPage):
    """Search in rounds: mark pictures as relevant or not, and the next ones follow what you marked.

    A round shows the best unmarked pictures; those marked in earlier rounds stand below. What you mark in a session is added to a profile
    when the next query comes: the direction that sets what you chose apart from what you saw and did not choose, see
    `cbirkit.feedback.Profile`. It adds to the scores of later searches, as much as the slider says.

    Parameters
    ----------
    retriever : Retriever
        Fitted.
    query : str, path, PIL image or array, optional
        An id of an indexed image, or a picture of one's own. Default: the first indexed image.
    method : {"rocchio", "logistic", "svm"}
        What learns from the marks, see `cbirkit.feedback.FeedbackSearch`.
    profile : Profile, optional
        Of this encoder. Default: an empty one.
    weight : float
        What the profile's score is multiplied by, from 0 to 1.
    k : int
        Pictures of a round.
    by : str, optional
        Column that says which pictures are right, which is counted and not used.

    Attributes
    ----------
    marks : dict of bool
        By id: whether it was marked relevant, in this session.
    shown : list of str
        Ids of this round, best first.
    profile : Profile
        Of the sessions before this one.

    Raises
    ------
    TypeError, ValueError
        No retriever, one without images, an unknown query, method or column, a number out of range, a profile of other vectors.

    Examples
    --------
    >>> FeedbackExplorer(retriever, method="svm")                                   # doctest: +SKIP
    """

    def __init__(
        self, retriever, *, query=None, method="rocchio", profile=None, weight=0.3, k=10, by=None
    ):
        self._retrievers = checked_retrievers(retriever)
        self._retriever = next(iter(self._retrievers.values()))
        self._judge, self._k = Judge(by), whole_number(k, "k", 1, 48)
        check_choice("method", method, METHODS.values())
        check_number("weight", weight, 0, 1)
        self._rows, name = np.asarray(self._retriever.embeddings), repr(self._retriever.encoder_)
        self.profile = profile or Profile(" ".join(name.split()), self._rows.shape[1])
        check_type("profile", self.profile, Profile, "cbirkit.feedback")
        self._method = labelled(Dropdown(options=METHODS, value=method, description="method"))
        slider = {"max": 1, "step": 0.05, "continuous_update": False}
        self._weight = FloatSlider(weight, description="profile", **slider)
        labelled(self._weight, "How much the profile adds to the scores")
        self._file = labelled(Text("likes.profile", description="file"), "File of the profile")
        actions = {"Next round": self.next_round, "Undo": self.undo}
        actions |= {"Save profile": self.save, "Load profile": self.load}
        made = [button(name, name, self._guarded(do)) for name, do in actions.items()]
        marking, filing = (Box(made[i : i + 2]).add_class("cbk-row") for i in (0, 2))
        controls = [self._method, marking, self._weight, self._file, filing]
        look = {"tile_size": 104, "hot_keys": [*KEYS, "r", "u"]}
        heads = {"Which of these?": _HOW, "Marked in earlier rounds": ""}
        grids = [TileGrid(heading=one, summary=two, **look) for one, two in heads.items()]
        self._history, self.shown, self._cropper = [], [], Cropper()
        self._make_page(None, self.search, grids=grids, controls=controls, cropper=self._cropper)
        self.search(self._as_query(query))
        for grid in grids:
            grid.on("pick", self._guarded(lambda i: self.mark(i, _AFTER[self.marks.get(i)])))
            grid.on("key", self._guarded(self._press))
        self._on_value([self._method, self._weight], self._guarded(self._show))

    # ------------------------------------------------------------------ for use from Python

    @property
    def marks(self):
        marks = dict(self._history).items()  # a round is there as None and what it showed
        return {i: mark for i, mark in marks if i is not None and mark is not None}

    def search(self, query=None):
        """Begin a session with a query (default: the one shown); what the one before taught is added to the profile.

        Raises
        ------
        ValueError
            No such query, or one that cannot be read; nothing changes then.
        """
        query = self._query if query is None else self._as_query(query)
        own = query.images is self._retriever.images and query.box is None
        embed = lambda: self._retriever.encoder_.transform([query.pixels()])[0]
        row = int(query.images.positions([query.name])[0]) if own else embed()
        preview, size, self.profile = query.preview(self._thumbnails), query.size(), self._learned()
        self._history, self._row = [], row
        self._mark_query(query)
        self._cropper.show(preview, *size, name=query.name, box=query.box)
        self._show()

    def mark(self, image_id, relevant):
        """Mark a picture as relevant (True), not relevant (False) or neither (None); it counts from the next round on."""
        check_choice("relevant", relevant, tuple(_LOOKS))
        if image_id not in {*self.shown, *dict(self._history)}:
            raise ValueError(f"{image_id!r} is not shown; mark what the search found")
        self._history.append((image_id, relevant))
        self._show_tiles()

    def next_round(self):
        """Search with the marks; ValueError where none is new."""
        if not self._history or self._history[-1][0] is None:
            raise ValueError("mark a picture first: the next round follows the marks")
        self._history.append((None, self.shown))
        self._show()

    def undo(self):
        """Take back the last mark, or the last round; ValueError where there is neither."""
        if not self._history:
            raise ValueError("there is no mark to take back")
        self._history.pop()
        self._show()

    def save(self, path=None):
        """Save the profile, with what this session adds to it, as `Profile.save` does; default: in the file of the field."""
        profile = self._learned()
        self._status.say(f"Saved in {profile.save(path or self._file.value)}: {profile}")

    def load(self, path=None):
        """Use the profile of a file in place of this one; ValueError or OSError, see `Profile.load`, and nothing changes."""
        how = {"encoder": self.profile.encoder, "n_dims": self._rows.shape[1]}
        self.profile = Profile.load(path or self._file.value, **how)
        self._show(f"Loaded {self.profile}. ")

    # ------------------------------------------------------------------ searching and showing

    def _crop(self, box):
        self.search(self._query.cut(box))

    def _press(self, key, image_id):
        if key in KEYS:
            return self.mark(image_id, KEYS[key])
        return self.next_round() if key == "r" else self.undo()

    def _learned(self):
        """The profile with what this session adds: what was marked relevant against all else that was shown."""
        marks, at = self.marks, self._retriever.images.positions
        good = [i for i, mark in marks.items() if mark]
        seen = {*marks, *self.shown, *chain(*(ids for i, ids in self._history if i is None))}
        rows = (self._rows[at(ids)] for ids in (good, sorted(seen - {*good})))
        return deepcopy(self.profile).update(*rows)

    def _show(self, told=""):
        """Search with the marks of the rounds that are over."""
        over = [n for n, (image_id, _) in enumerate(self._history, 1) if image_id is None]
        how = {"method": self._method.value, "profile": self.profile, "weight": self._weight.value}
        search, images = FeedbackSearch(self._rows, self._row, **how), self._retriever.images
        for image_id, mark in self._history[: max(over, default=0)]:
            if image_id is not None:
                search.mark(int(images.positions([image_id])[0]), mark)
        ids = lambda at: images.ids[list(at)].tolist()
        self.shown, self._past = ids(search.to_show(self._k)), ids(search.marks)
        self._scores, self._round = search.scores(), len(over) + 1
        self._show_tiles(told)

    def _show_tiles(self, told=""):
        self._found, self._judged = self._tiles(self.shown), self._tiles(self._past)
        for grid, tiles in zip(self._lists.children, (self._found, self._judged), strict=True):
            grid.show(tiles)
        verdicts, known = self._judge.verdicts(self._query, self._retriever.images, self.shown)
        right = f"; {verdicts.count('right')} of {len(verdicts)} shown are right" if known else ""
        marks, name = list(self.marks.values()), self._method.label
        counted = f"{sum(marks)} marked relevant, {len(marks) - sum(marks)} not"
        self._told = f"{told}{self.query}, round {self._round} by {name}: {counted}{right}"
        self._status.say(self._told)

    def _tiles(self, ids):
        images = self._retriever.images
        pictures, far = self._thumbnails.get(images, ids, THUMBNAIL), 1 - self._scores
        marks = [_LOOKS[self.marks.get(i)] for i in ids]
        labels = [self._judge.caption(images, i) for i in ids]
        rows = zip(ids, pictures, far[images.positions(ids)], marks, labels, strict=True)
        return [result_tile(rank, *row) for rank, row in enumerate(rows, 1)]

    def _view(self):
        picture = self._query.preview(self._thumbnails)
        tile = Tile(self.query, picture, caption=self.query, mark="query")
        found = Section(f"Round {self._round}", "", self._found)
        past = Section("Marked in earlier rounds", "", self._judged)
        return View("Feedback", self._told, [found, past][: 1 + bool(self._judged)], tile)
