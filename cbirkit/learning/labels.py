"""From labels to class numbers."""

import numpy as np
import pandas as pd

from ..ranking.codes import aligned, as_labels


def labels_of(images, labels=None):
    """The labels of a collection: given, or a column of it.

    Parameters
    ----------
    images : ImageCollection
    labels : sequence or str, optional
        One an image, or the name of a column; default ``label``.

    Raises
    ------
    ValueError
        There is no such column.
    """
    if labels is not None and not isinstance(labels, str):
        return aligned(labels, images.ids, "labels")
    name = labels or "label"
    if name not in images.table:
        raise ValueError(
            f"{images.name!r} has no column {name!r} to train on; pass labels=, one an image, or labels=range(len(images)) "
            "where each is its own class"
        )
    return images.column(name)


def labels_of_validation(validation, options):
    """Labels of the validation split: of the column that `options` names for the training images, where it names one."""
    return labels_of(validation, options.labels if isinstance(options.labels, str) else None)


def class_numbers(labels, n_images, names=None):
    """Sorted classes, and the number of the class of each image.

    Parameters
    ----------
    labels : sequence
    n_images : int
        How many there should be.
    names : sequence of str, optional
        Of the images, for errors.

    Returns
    -------
    classes : ndarray (n_classes,)
    targets : ndarray (n_images,), int64

    Raises
    ------
    ValueError
        Too many or too few labels, or one is missing.

    Examples
    --------
    >>> class_numbers(["b", "a", "b"], 3)[1].tolist()
    [1, 0, 1]
    """
    labels = pd.Series(as_labels(getattr(labels, "array", labels)), dtype=object).infer_objects()
    if len(labels) != n_images:
        raise ValueError(f"got {len(labels)} labels for {n_images} images; give one an image")
    missing = np.flatnonzero(labels.isna())
    if len(missing):
        first = missing[0] if names is None else repr(str(names[missing[0]]))
        raise ValueError(
            f"{len(missing)} of {n_images} images have no label, the first is {first}; label them or leave them out (images.subset)"
        )
    try:
        classes, targets = np.unique(labels.to_numpy(), return_inverse=True)
    except TypeError:  # labels of several kinds have no order
        classes, targets = np.unique(labels.astype(str).to_numpy(), return_inverse=True)
    return classes, targets.astype(np.int64)
