"""What stands behind a collection of scenes: it renders rows, and keeps those it rendered last."""

from functools import lru_cache

from .domains import DOMAINS
from .masks import visible_mask, whole_masks

CACHE_BYTES = 128 * 2**20  # 10,900 images of 64 pixels a side, or 4,800 of 96


class Renderer:
    """Images, masks and scene graphs of the rows of a set.

    Parameters
    ----------
    scenes : Scenes
    domain : str
    size : int
        Pixels a side.
    """

    def __init__(self, scenes, domain, size):
        self.scenes, self.domain, self.size = scenes, domain, size
        self._cached = lru_cache(maxsize=max(CACHE_BYTES // (3 * size**2), 16))(self._render)

    def _render(self, row):
        return DOMAINS[self.domain](self.scenes, row, self.size)

    def __call__(self, row):
        return self._cached(row).copy()  # the caller may write into it

    def visible(self, row):
        return visible_mask(self.scenes, row, self.size)

    def whole(self, row):
        return whole_masks(self.scenes, row, self.size)

    def __getstate__(self):
        return {"scenes": self.scenes, "domain": self.domain, "size": self.size}

    def __setstate__(self, state):
        self.__init__(**state)


def full_masks(images, which):
    """The whole mask of each object of one image, also where it is hidden (amodal masks).

    ``images.mask(which)`` gives the visible part of all objects as one array of numbers.

    Parameters
    ----------
    images : ImageCollection
        From `load_scenes`, or a part of it.
    which : str or int
        Id or position.

    Returns
    -------
    ndarray of shape (n_objects, size, size), bool
        In the order of the columns ``classes`` and ``boxes``.

    Raises
    ------
    ValueError
        The collection is no set of scenes.

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> scenes = load_scenes("multi", classes=["star5", "blob3", "ringed1"], n_instances=2)
    >>> len(full_masks(scenes, 0)) == len(scenes.column("classes")[0])
    True
    """
    renderer = getattr(images._source, "function", None)
    if type(renderer) is not Renderer:
        raise ValueError(
            f"{images.name!r} holds no scenes, of which whole masks are known; use load_scenes()"
        )
    return renderer.whole(int(images._rows[images._position(which)]))
