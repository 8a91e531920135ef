"""scikit-learn's handwritten digits as a collection."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar

from cbirkit.images import ImageCollection

from .fetch.labelled import shuffled_classes


def load_digits(*, scale=4, random_state=0):
    """Handwritten digits of scikit-learn: 1,797 small grey images of ten classes.

    The file ships inside scikit-learn. What is known of every image: which digit it is. The images are the
    test part of the UCI set "Optical Recognition of Handwritten Digits" (13 people, none of whom is named;
    who wrote which is not known): bitmaps of 32 × 32 black or white pixels, of which every pixel here counts
    the set ones in a 4 × 4 block (0 to 16).

    Parameters
    ----------
    scale : int, default=4
        Every one of the 8 × 8 pixels becomes a square of this side (nearest neighbour: nothing is
        interpolated). 4 gives 32 × 32.
    random_state : int, RandomState or None, default=0
        For the column ``split`` only.

    Returns
    -------
    ImageCollection
        RGB uint8 (8 scale, 8 scale, 3), bright strokes on black: 0 … 16 becomes 0 … 255, rounded. Columns
        ``label`` (int 0 to 9) and ``split``: 20 of each digit, drawn at random, are "query", the other 1,597
        "database".

    Raises
    ------
    ValueError, TypeError
        `scale` is below 1, or no whole number.

    References
    ----------
    Alpaydin and Kaynak (1998), UCI Machine Learning Repository, doi:10.24432/C50P49 (CC BY 4.0).

    Examples
    --------
    >>> digits = load_digits()
    >>> len(digits), digits[0].shape, int(digits.labels[0])
    (1797, (32, 32, 3), 0)
    >>> queries, database = digits.split()
    >>> len(queries)
    200
    """
    from sklearn.datasets import load_digits as load

    check_scalar(scale, "scale", Integral, min_val=1)
    data = load()
    grey = np.rint(data.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    images = np.repeat(grey.repeat(scale, axis=1).repeat(scale, axis=2)[..., None], 3, axis=3)
    labels = data.target.astype(np.int64)
    split = np.full(len(labels), "database", dtype=object)
    for members in shuffled_classes(labels, random_state):
        split[members[:20]] = "query"
    ids = [f"{i:04d}" for i in range(len(labels))]
    table = pd.DataFrame({"label": labels, "split": split}, index=pd.Index(ids, dtype=object))
    return ImageCollection.from_arrays(images, table=table, ids=ids, name="digits")
