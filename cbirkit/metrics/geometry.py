"""How embeddings lie on the sphere: alignment of what belongs together, uniformity of the whole."""

import numpy as np

from cbirkit.ranking.codes import as_labels, index_of, label_codes


def alignment(embeddings, labels, alpha=2.0):
    r"""Mean distance, to the power alpha, of two embeddings of one class: small is good.

    .. math:: \text{mean over pairs } i \ne j \text{ with } y_i = y_j \text{ of } \|x_i - x_j\|^\alpha

    Parameters
    ----------
    embeddings : array (n_images, n_dims)
        Scaled to length 1 first, as the paper has it; a zero vector stays zero.
    labels : sequence (n_images,)
        In the paper a pair is two views of one image: give the image's number. A missing label (None, NaN) equals none.
    alpha : float
        > 0.

    Returns
    -------
    float
        Between 0 and 2^alpha (4 by default); NaN if no label occurs twice. Each pair counts once, so large classes weigh more.

    Raises
    ------
    ValueError
        No rows, values that are not finite, a number of labels that differs, or an alpha out of range.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere", ICML 2020, arXiv 2005.10242.

    Examples
    --------
    >>> alignment([[1, 0], [0, 1], [0, 3]], ["a", "a", "b"])
    2.0
    """
    rows, labels = _unit(embeddings), as_labels(labels, index_of(embeddings))
    if len(labels) != len(rows):
        raise ValueError(f"got {len(labels)} labels for {len(rows)} embeddings; give one each")
    if not alpha > 0:
        raise ValueError(f"alpha must be a number > 0, got {alpha!r}; 2 is usual")
    codes = label_codes(labels, labels)[0]
    order = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]
    classes = np.split(rows[order], np.flatnonzero(np.diff(codes[order])) + 1)
    classes = [own for own in classes if len(own) > 1]
    total = sum((block ** (alpha / 2)).sum() for own in classes for block in _squares(own))
    pairs = sum(len(own) * (len(own) - 1) for own in classes)
    return float(total / pairs) if pairs else float("nan")


def uniformity(embeddings, t=2.0):
    r"""Logarithm of the mean Gaussian potential of all pairs: the smaller, the more evenly the sphere is filled.

    .. math:: \log \text{ mean over pairs } i \ne j \text{ of } \exp(-t \|x_i - x_j\|^2)

    Parameters
    ----------
    embeddings : array (n_images, n_dims)
        Scaled to length 1 first; a zero vector stays zero.
    t : float
        > 0.

    Returns
    -------
    float
        At most 0, which is a collapsed embedding; -2t (-4 by default) where most pairs stand at right angles, as in many dimensions
        they do at random. NaN for a single row.

    Raises
    ------
    ValueError
        No rows, or a t out of range.

    References
    ----------
    As `alignment`.

    Examples
    --------
    >>> round(uniformity([[1, 0], [0, 1]]), 6), uniformity([[1, 1], [2, 2]])
    (-4.0, 0.0)
    """
    rows = _unit(embeddings)
    if not t > 0:
        raise ValueError(f"t must be a number > 0, got {t!r}; 2 is usual")
    pairs = len(rows) * (len(rows) - 1)
    if not pairs:
        return float("nan")
    potential = sum(np.exp(-t * block).sum() for block in _squares(rows))
    # less each with itself
    return float(np.log((potential - len(rows)) / pairs)) + 0.0


def _unit(embeddings):
    # scikit-learn takes a second to load, and the other metrics, which each graded cell loads, need none of it
    from sklearn.preprocessing import normalize
    from sklearn.utils import check_array

    rows = check_array(embeddings, dtype=np.float64, input_name="embeddings")
    # by the largest value first, so that the square of what is left neither overflows nor vanishes
    return normalize(normalize(rows, norm="max"))


def _squares(rows):
    """Squared distances of all pairs of rows, block after block; around their mean, so that a common offset costs no digits."""
    from sklearn.metrics import pairwise_distances_chunked

    return pairwise_distances_chunked(rows - rows.mean(axis=0), squared=True, working_memory=64)
