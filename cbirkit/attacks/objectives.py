"""What an attack is after: a number for each embedding, the larger the better for the attacker."""

import copy

import numpy as np

from cbirkit._optional import require


class Away:
    """Leave one's place: 1 - cos to an anchor.

    With an image's own embedding as anchor, the gradient at the image itself is 0 (it is the top of the hill):
    start at random, or take an embedding near by, such as that of the first result.

    Parameters
    ----------
    anchors : array (n, d), or (n, m, d) for the mean over m anchors; (1, …) is shared by all images

    Examples
    --------
    >>> Away([[1.0, 0.0]])(require("torch").tensor([[0.0, 1.0]]))
    tensor([1.])
    """

    def __init__(self, anchors):
        rows = unit_rows(anchors)
        self.anchors = rows if rows.ndim == 3 else rows[:, None]  # (n, m, d)

    def __call__(self, embeddings):
        """Embeddings (n, d) of length 1 -> tensor (n,)."""
        return 1 - self.cosines(embeddings)

    def cosines(self, embeddings):
        """Cosine of each row to its anchor, or the mean over several: tensor (n,)."""
        return (embeddings[:, None] * self.anchors.to(embeddings)).sum(dim=2).mean(dim=1)

    def rows(self, which):
        """The same objective for some of the images."""
        return type(self)(self.anchors if len(self) == 1 else self.anchors[which])

    def __len__(self):
        return len(self.anchors)


class Towards(Away):
    """Go to a chosen place: cos to an anchor (parameters as of `Away`).

    To raise a database item for a set of queries, attack the item with the queries' embeddings (1, m, d) as
    anchors; to bury it, use `Away` with them.

    Examples
    --------
    >>> Towards([[[1.0, 0.0], [0.0, 1.0]]])(require("torch").tensor([[0.0, 1.0]]))
    tensor([0.5000])
    """

    def __call__(self, embeddings):
        """Embeddings (n, d) of length 1 -> tensor (n,)."""
        return self.cosines(embeddings)


class Misrank:
    """Let a wrong item stand first: the best cosine of a wrong item minus the best of a right one.

    It is positive exactly if the first result is wrong, so that recall@1 under attack can be read off it.

    Parameters
    ----------
    database : array (n_database, d)
    gains : array (n, n_database)
        Above 0 where an item is right for an image; or bool.
    junk : bool array (n, n_database), optional
        Items that count as neither.

    Raises
    ------
    ValueError
        Shapes that do not fit, or an image without right or without wrong items.

    Examples
    --------
    >>> Misrank(np.eye(2), [[1, 0]])(require("torch").tensor([[0.6, 0.8]]))
    tensor([0.2000])
    """

    def __init__(self, database, gains, junk=None):
        torch = require("torch")
        self.database = unit_rows(database)
        right = np.asarray(gains) > 0
        ignored = np.zeros_like(right) if junk is None else np.asarray(junk, bool)
        if right.ndim != 2 or right.shape[1] != len(self.database) or ignored.shape != right.shape:
            raise ValueError(
                f"gains and junk must have the shape (n_images, {len(self.database)}), got {right.shape} and {ignored.shape}"
            )
        right, wrong = right & ~ignored, ~right & ~ignored
        if not (right.any(axis=1) & wrong.any(axis=1)).all():
            raise ValueError(
                "every image needs a right and a wrong item in the database; leave the others out"
            )
        self.right, self.wrong = torch.from_numpy(right), torch.from_numpy(wrong)

    def __call__(self, embeddings):
        """Embeddings (n, d) of length 1 -> tensor (n,)."""
        cosines = embeddings @ self.database.to(embeddings).T  # (n, n_database)
        masks = (self.wrong.to(cosines.device), self.right.to(cosines.device))
        wrong, right = (cosines.masked_fill(~mask, -2).amax(dim=1) for mask in masks)
        return wrong - right

    def rows(self, which):
        """The same objective for some of the images."""
        other = copy.copy(self)
        if len(self) > 1:
            other.right, other.wrong = self.right[which], self.wrong[which]
        return other

    def __len__(self):
        return len(self.right)


def unit_rows(embeddings):
    """Embeddings as a float32 tensor, each scaled to length 1; ValueError if there is nothing finite to scale."""
    torch = require("torch")
    if not isinstance(embeddings, torch.Tensor):
        embeddings = np.asarray(embeddings, dtype=np.float32)
    rows = torch.as_tensor(embeddings)
    if rows.ndim < 2 or not rows.numel() or not bool(torch.isfinite(rows).all()):
        raise ValueError(
            f"expected finite embeddings, one a row, got shape {tuple(rows.shape)}; encode images first"
        )
    return torch.nn.functional.normalize(rows.detach().float(), dim=-1)
