"""Relevance feedback: a person marks results, and the search learns what they are after; a profile keeps it for later searches.

Rows of embeddings are scaled to length 1 before anything is computed of them. Scores are similarities: larger is better.
"""

import numbers

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.utils import check_random_state

from cbirkit import persistence
from cbirkit.encoders.base import check_choice, check_count, check_number, unit

METHODS = {  # name: its options with their defaults
    "rocchio": {"alpha": 1.0, "beta": 0.75, "gamma": 0.15},
    "logistic": {"C": 1.0},
    "svm": {"C": 1.0},
}


def rocchio(query, relevant, nonrelevant, *, alpha=1.0, beta=0.75, gamma=0.15):
    """Move a query towards what was marked relevant and away from what was marked not relevant.

    q' = alpha q + beta mean(relevant) - gamma mean(nonrelevant); the mean of no vectors is zero.

    Parameters
    ----------
    query : array-like (n_dims,)
    relevant, nonrelevant : array-like (k, n_dims)
        Each may be empty.
    alpha, beta, gamma : float
        At least 0.

    Returns
    -------
    ndarray (n_dims,), float32
        Not scaled to length 1.

    Raises
    ------
    ValueError
        Vectors of another number of dimensions, or that are not finite; a weight below 0.

    References
    ----------
    Rocchio, "Relevance feedback in information retrieval", in Salton (ed.), The SMART Retrieval System, 1971; the weights are those
    that Manning, Raghavan and Schütze name for texts, Introduction to Information Retrieval, 2008, section 9.1.1.

    Examples
    --------
    >>> rocchio([1, 0, 0], [[0, 1, 0]], [[0, 0, 1], [0, 0, 3]], gamma=0.25).tolist()
    [1.0, 0.75, -0.5]
    """
    for name, weight in {"alpha": alpha, "beta": beta, "gamma": gamma}.items():
        check_number(name, weight, 0)
    moved = alpha * _vectors("query", [query])[0]
    for name, rows, weight in (("relevant", relevant, beta), ("nonrelevant", nonrelevant, -gamma)):
        if len(rows := _vectors(name, rows, len(moved))):
            moved = moved + weight * rows.mean(axis=0)
    return moved.astype(np.float32)


class FeedbackSearch:
    """One search session: a query, the marks that a person sets, and the ranking that follows from them.

    Parameters
    ----------
    embeddings : array-like (n_images, n_dims)
        The database.
    query : array-like (n_dims,), or int
        An embedding; or the position of an image of the database, which is then left out of every ranking.
    method : {"rocchio", "logistic", "svm"}
        "rocchio": cosine to the query as `rocchio` moves it. "logistic", "svm": signed distance to the boundary of a linear
        classifier, for which the query is one more relevant image, and both classes weigh the same. As long as nothing is marked not
        relevant, there is no boundary, and these two score as "rocchio" does with its defaults.
    profile : Profile, optional
        Its score is added to every image's.
    weight : float
        What the profile's score is multiplied by.
    **options
        Of the method: ``alpha``, ``beta``, ``gamma``; or ``C``, larger for less regularisation.

    Raises
    ------
    ValueError
        Whatever is of another shape, not finite, unknown or out of range.

    References
    ----------
    Tong and Chang, "Support vector machine active learning for image retrieval", ACM Multimedia 2001, doi 10.1145/500141.500159.

    Examples
    --------
    >>> search = FeedbackSearch([[1, 0], [0.9, 0.5], [0.9, -0.4], [0.5, 0.9]], query=0)
    >>> search.ranking().tolist()
    [2, 1, 3]
    >>> search.mark(1, True)
    >>> search.mark(2, False)
    >>> search.ranking().tolist()
    [1, 2, 3]
    >>> search.to_show(2).tolist()
    [3]
    """

    def __init__(self, embeddings, query, *, method="rocchio", profile=None, weight=1.0, **options):
        check_choice("method", method, METHODS)
        check_number("weight", weight, 0)
        if unknown := options.keys() - METHODS[method].keys():
            raise ValueError(f"{method} has no option {min(unknown)!r}; it has {', '.join(METHODS[method])}")  # fmt: skip
        for name, value in options.items():
            check_number(name, value, 0, open_low=name == "C")
        self.method, self.options = method, METHODS[method] | options
        self.embeddings = unit(_vectors("embeddings", embeddings))  # (n_images, n_dims)
        self.query_position = None
        if isinstance(query, numbers.Integral):
            self.query_position = self._position(query)
            query = self.embeddings[self.query_position]
        self.query = unit(_vectors("query", [query], self.embeddings.shape[1]))[0]  # (n_dims,)
        self._added = 0 if profile is None else weight * profile.score(self.embeddings)
        self.marks, self._before = {}, []

    def mark(self, index, relevant):
        """Mark the image at a position as relevant (True) or not (False), or take its mark away (None).

        Raises
        ------
        ValueError, TypeError
            No such position, or the query's own; `relevant` is something else.
        """
        index = self._position(index)
        if index == self.query_position:
            raise ValueError(f"image {index} is the query itself; mark what it found")
        if not isinstance(relevant, bool | np.bool_ | None):
            raise TypeError(f"relevant must be True, False or None, got {relevant!r}")
        self._before.append((index, dict(self.marks)))
        self.marks.pop(index, None)
        if relevant is not None:
            self.marks[index] = bool(relevant)

    def undo(self):
        """Take back the last `mark`: the position that it was for, or None where there is nothing to take back."""
        if not self._before:
            return None
        index, self.marks = self._before.pop()
        return index

    def marked(self, relevant):
        """Positions marked so, in the order of marking: ndarray (k,), int64."""
        return np.array([i for i, mark in self.marks.items() if mark == relevant], dtype=np.int64)

    def scores(self):
        """Score of every image, the query's own and marked ones too: ndarray (n_images,), float32."""
        return self._scores_and_boundary()[0]

    def boundary(self):
        """Score at which relevant and not relevant part, a float: of "rocchio" the middle between the mean scores of the two (the query
        stands in where nothing is marked relevant), of the others 0; None as long as nothing is marked not relevant.
        """
        return self._scores_and_boundary()[1]

    def ranking(self):
        """Positions, best first, without the query's own; ties in their order: ndarray (n,), int64. Marked images keep their score."""
        return self._ordered(self.scores())

    def to_show(self, n, explore=0.0, *, among=None):
        """Unmarked images to show next: the best, and those about which the search is least sure.

        Parameters
        ----------
        n : int
        explore : float
            Fraction of `n`, from 0 to 1, that are nearest to the boundary; they come last. Without a boundary, the best are shown.
        among : array-like of int, optional
            Positions that may be shown. Default: all.

        Returns
        -------
        ndarray (m,), int64
            Positions; m < n where fewer are unmarked.
        """
        check_count("n", n)
        check_number("explore", explore, 0, 1)
        scores, boundary = self._scores_and_boundary()
        left = self._ordered(scores)
        left = left[~np.isin(left, list(self.marks))]
        left = left if among is None else left[np.isin(left, among)]
        n_unsure = 0 if boundary is None else round(n * explore)
        best, others = np.split(left, [min(n - n_unsure, len(left))])
        unsure = np.argsort(np.abs(scores[others] - (boundary or 0)), kind="stable")[:n_unsure]
        return np.concatenate([best, others[unsure]])

    def _scores_and_boundary(self):
        good, bad = (self.embeddings[self.marked(kind)] for kind in (True, False))
        if self.method == "rocchio" or not len(bad):
            weights = self.options if self.method == "rocchio" else {}
            direction = unit(rocchio(self.query, good, bad, **weights)[None])[0]
            scores = self.embeddings @ direction + self._added
            if not len(bad):
                return scores, None
            good = scores[self.marked(True)] if len(good) else np.array([self.query @ direction])
            return scores, float(good.mean() + scores[self.marked(False)].mean()) / 2
        examples = np.vstack([self.query[None], good, bad])
        classes = np.arange(len(examples)) <= len(good)
        kwargs = {"C": self.options["C"], "class_weight": "balanced"}
        model = SVC(kernel="linear", **kwargs) if self.method == "svm" else LogisticRegression(max_iter=1000, **kwargs)  # fmt: skip
        model.fit(examples.astype(np.float64), classes)
        length = max(float(np.linalg.norm(model.coef_)), 1e-12)
        scores = model.decision_function(self.embeddings.astype(np.float64)) / length
        return (scores + self._added).astype(np.float32), 0.0

    def _ordered(self, scores):
        order = np.argsort(-scores, kind="stable")
        return order[order != self.query_position] if self.query_position is not None else order

    def _position(self, index):
        n = len(self.embeddings)
        whole = isinstance(index, numbers.Integral) and not isinstance(index, bool)
        if not whole or not 0 <= index < n:
            raise ValueError(f"an image is named by its position, 0 to {n - 1}, got {index!r}")
        return int(index)


class Profile:
    """What a person prefers whatever they search for: one vector, learned over sessions.

    Each session adds mean(chosen) - mean(others) of unit vectors. What the two have in common, such as the topic of the search,
    cancels; what sets the chosen apart stays, and adds up if it is the same in every session.

    Parameters
    ----------
    encoder : str
        Name of what made the embeddings: vectors of another encoder mean something else.
    n_dims : int

    Attributes
    ----------
    vector : ndarray (n_dims,), float32
        The preference, of length 1; zeros before the first session.
    n_sessions : int

    Examples
    --------
    >>> profile = Profile("made up", 3)
    >>> profile.update(chosen=[[1, 0, 1]], others=[[1, 0, 0], [1, 0, -1]])
    Profile of made up: 3 numbers from 1 session
    >>> (profile.score(np.eye(3)) > 0.9).tolist()
    [False, False, True]
    """

    def __init__(self, encoder, n_dims):
        if not isinstance(encoder, str) or not encoder:
            raise ValueError(f"encoder must be a name, such as 'lite0', got {encoder!r}")
        check_count("n_dims", n_dims)
        self.encoder, self.n_sessions = encoder, 0
        self._sum = np.zeros(n_dims, np.float32)

    def __repr__(self):
        s = "" if self.n_sessions == 1 else "s"
        return f"Profile of {self.encoder}: {len(self._sum)} numbers from {self.n_sessions} session{s}"  # fmt: skip

    @property
    def vector(self):
        return unit(self._sum[None])[0]

    def update(self, chosen, others):
        """Learn from one session; return self.

        Parameters
        ----------
        chosen, others : array-like (k, n_dims)
            Embeddings of what the person marked relevant, and of what they saw and did not choose. If either is empty, nothing sets
            the chosen apart, and the session does not count.
        """
        n_dims = len(self._sum)
        sides = _vectors("chosen", chosen, n_dims), _vectors("others", others, n_dims)
        if all(len(rows) for rows in sides):
            good, bad = (unit(rows).mean(axis=0) for rows in sides)
            self._sum, self.n_sessions = self._sum + good - bad, self.n_sessions + 1
        return self

    def score(self, embeddings):
        """Cosine of each embedding (n_images, n_dims) to the preference: ndarray (n_images,), float32; zeros before a session."""
        return unit(_vectors("embeddings", embeddings, len(self._sum))) @ self.vector

    def save(self, path):
        """Save as one file, all or nothing; only a profile is replaced. Returns its `pathlib.Path`; raises as `persistence.save`."""
        state = {"encoder": self.encoder, "sum": self._sum, "n_sessions": self.n_sessions}
        return persistence.save(state, path, kind="profile")

    @classmethod
    def load(cls, path, *, encoder, n_dims):
        """Load what `save` wrote; nothing in the file is run.

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such file; it is something else, or damaged; it is the profile of another encoder.
        """
        profile, state = cls(encoder, n_dims), persistence.load(path, kind="profile")
        with persistence.reading(path, "profile"):
            kept = np.asarray(state["sum"], np.float32)
            name, n_sessions = str(state["encoder"]), int(state["n_sessions"])
            if kept.ndim != 1 or n_sessions < 0 or not np.isfinite(kept).all():
                raise ValueError("it holds no vector of finite numbers")
            if (name, len(kept)) != (encoder, n_dims):
                raise ValueError(f"it was learned with {name!r} ({len(kept)} numbers), and this search uses {encoder!r} ({n_dims} numbers), which means something else; start a new profile")  # fmt: skip
        profile._sum, profile.n_sessions = kept, n_sessions
        return profile


class SimulatedUser:
    """A person with a taste of their own, who errs and tires.

    Whether they err about an image is drawn once for each image: whatever a search shows them, and in whatever order, they say the
    same of it. So methods that are compared meet the same person.

    Parameters
    ----------
    taste : array-like of bool (n_images,)
        Which images of the database are what they are after.
    noise : float
        Probability, from 0 to 1, that they call an image what it is not.
    patience : int
        Marks that they set in a session, all rounds together.
    random_state : int, RandomState or None

    Attributes
    ----------
    left : int
        Marks that they will still set.

    Examples
    --------
    >>> user = SimulatedUser([True, False, True, True], patience=3)
    >>> user.judge([2, 1]), user.judge([0, 3]), user.left
    ([(2, True), (1, False)], [(0, True)], 0)
    """

    def __init__(self, taste, *, noise=0.0, patience=30, random_state=None):
        self.taste = np.asarray(taste)
        if self.taste.ndim != 1 or self.taste.dtype != bool:
            raise ValueError(f"taste must hold True or False for each image, got shape {self.taste.shape}, {self.taste.dtype}")  # fmt: skip
        check_number("noise", noise, 0, 1)
        check_count("patience", patience, 0)
        errs = check_random_state(random_state).random_sample(len(self.taste)) < noise
        self.says, self.left = self.taste ^ errs, patience

    def judge(self, shown):
        """Look at images (positions) in their order, as long as patience lasts: list of (position, True or False)."""
        looked = [int(index) for index in shown][: self.left]
        self.left -= len(looked)
        return [(index, bool(self.says[index])) for index in looked]


def _vectors(name, rows, n_dims=None):
    """Rows as finite float32 (k, n_dims); none where `n_dims` is known and `rows` is empty."""
    rows = np.asarray(rows, dtype=np.float32)
    if n_dims and not rows.size:
        return np.zeros((0, n_dims), np.float32)
    if rows.ndim != 2 or not rows.size or rows.shape[1] != (n_dims or rows.shape[1]):
        raise ValueError(f"{name} must hold vectors of {n_dims or 'equally many'} numbers, got shape {rows.shape}")  # fmt: skip
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return rows
