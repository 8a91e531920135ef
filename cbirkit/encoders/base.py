"""What the encoders share: how images come in, checks of parameters, and encoders that learn nothing."""

import itertools
import math
import numbers

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from cbirkit._optional import require
from cbirkit.images import ImageCollection, ImageProblem, read_image, to_rgb


def read_images(images, order=None):
    """Yield the images of a collection one after another as RGB uint8 arrays (h, w, 3).

    Parameters
    ----------
    images : ImageCollection or iterable of images
        Arrays of any sizes, grey, RGB or RGBA (see `cbirkit.images.to_rgb`), or PIL images.
    order : iterable of int, optional
        Positions to read, in this order; only for images with a length and positions.

    Raises
    ------
    ImageProblem
        An image cannot be used; it is named by its id, or by its position.
    TypeError, ValueError
        This is one image, a path or a table instead of a sequence of images.
    """
    _check_is_several(images)
    several = enumerate(images) if order is None else ((i, images[i]) for i in map(int, order))
    for position, image in several:
        # a collection gives RGB uint8, and names the broken ones
        yield image if isinstance(images, ImageCollection) else _as_rgb(image, position)


def has_positions(images):
    """Whether `images` can be read in any order (a list, an array, a collection), unlike a generator."""
    return hasattr(images, "__len__") and hasattr(images, "__getitem__")


def _check_is_several(images):
    path = isinstance(images, str | bytes) or hasattr(images, "__fspath__")
    if path or hasattr(images, "iloc") or not hasattr(images, "__iter__"):
        raise TypeError(
            f"expected a collection or sequence of images, got {type(images).__name__}; pass one image as [image], "
            "open a folder with cbirkit.datasets.from_folder, files with cbirkit.ImageCollection.from_files"
        )
    if isinstance(images, np.ndarray) and (images.ndim < 3 or images.shape[2:] in ((3,), (4,))):
        raise ValueError(
            f"expected several images, got one array of shape {images.shape}; pass one image as [image]"
        )


def _as_rgb(image, position):
    array = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if array and image.shape[2:] == (3,) and image.size:
        return image
    if isinstance(image, str | bytes) or hasattr(image, "__fspath__"):
        raise TypeError(
            f"image {position} is the path {image!r}, not pixels; "
            "open files with cbirkit.ImageCollection.from_files"
        )
    try:
        return read_image(image) if hasattr(image, "getbands") else to_rgb(image)
    except ImageProblem as problem:
        raise ImageProblem(f"image {position}", problem.reason) from None


def stack(rows, images):
    """Gather embeddings, one array an image, as float32 (n_images, n_dims) or of more dimensions.

    Raises
    ------
    ValueError
        There is no image at all.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        raise ValueError("expected at least one image, got none; pass images")
    # filled as they come: never held twice
    kind = np.dtype((np.float32, np.shape(first)))
    n = len(images) if hasattr(images, "__len__") else -1
    return np.fromiter(itertools.chain([first], rows), kind, n)


def l2_normalise(vector):
    """Scale a vector (n_dims,) to length 1; a zero vector stays zero."""
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector


def unit(rows):
    """Rows (n, n_dims) scaled to length 1, float32; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


def check_number(name, value, low=-math.inf, high=math.inf, *, open_low=False, whole=False):
    """Refuse a parameter that is not a finite number from `low` to `high`; `low` itself is refused, too, if `open_low`."""
    kind = numbers.Integral if whole else numbers.Real
    number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high or (open_low and value == low):
        above = f">{'' if open_low else '='} {low}" + f" and <= {high}" * (high < math.inf)
        raise ValueError(f"{name} must be a {'whole ' * whole}number {above}, got {value!r}")


def check_count(name, value, low=1):
    """Refuse a parameter that is not a whole number >= `low`."""
    check_number(name, value, low, whole=True)


def check_choice(name, value, choices):
    """Refuse a parameter that is none of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_each(name, values, check, n=None, **limits):
    """Refuse a parameter that is not a sequence of `n` (default one or more) that ``check(name, value, **limits)`` takes."""
    if np.ndim(values) != 1 or not len(values) or n not in (None, len(values)):
        raise ValueError(
            f"{name} must be a sequence of {n or 'one or more'} numbers, got {values!r}"
        )
    for value in values:
        check(f"each of {name}", value, **limits)


def steps_of(encoder):
    """The estimators that a pipeline or union is made of; else the encoder alone."""
    if not isinstance(encoder, Pipeline | FeatureUnion):
        return [encoder]
    steps = encoder.steps if isinstance(encoder, Pipeline) else encoder.transformer_list
    parts = [step for _, step in steps if step not in (None, "passthrough", "drop")]
    return [part for step in parts for part in steps_of(step)]


def is_fitted(encoder):
    """Whether ``transform`` can be used: all steps are fitted (scikit-learn asks the last one only) or learn nothing."""
    return all(_step_is_fitted(step) for step in steps_of(encoder))


def _step_is_fitted(step):
    try:
        return check_is_fitted(step) is None
    except NotFittedError:
        return False
    except (AttributeError, TypeError):  # no estimator of scikit-learn's kind
        return not hasattr(step, "fit") or has_learned(step)


def has_learned(step):
    """Whether a fitted step took something from what it was fitted on, other than its shape."""
    names = {name for name in vars(step) if name.endswith("_") and not name.startswith("_")}
    return bool(names - {"n_features_in_", "feature_names_in_"})


def grey(image):
    """Grey uint8 (h, w) of an RGB uint8 image (h, w, 3): 0.299 R + 0.587 G + 0.114 B, rounded."""
    cv2 = require("cv2")
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def resize(image, width, height):
    """Resize (h, w) or (h, w, 3) uint8: the mean of the covered area when it shrinks, linear when it grows."""
    cv2 = require("cv2")
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how)


class PerImage(TransformerMixin, BaseEstimator):
    """Base of encoders that learn nothing: each image is encoded by itself.

    A class has ``_check()``, which refuses bad parameters, and ``_encode(image)``, which turns RGB uint8
    (h, w, 3) into a vector (n_dims,).
    """

    def _check(self):
        """Refuse parameters; here there are none."""

    def fit(self, images=None, y=None):
        """Check the parameters; nothing is learned and the images are not read."""
        self._check()
        return self

    def transform(self, images):
        """Encode images.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)
            The images may differ in size; grey and RGBA arrays are converted.

        Returns
        -------
        ndarray of shape (n_images, n_dims), float32
            Finite; how it is normalised stands in the description of the class.

        Raises
        ------
        ImageProblem
            An image cannot be used (it is named).
        ValueError
            A parameter is out of range, or there is no image.
        """
        self._check()
        return stack(map(self._encode, read_images(images)), images)

    def __sklearn_is_fitted__(self):
        return True


class OnVectors(TransformerMixin, BaseEstimator):
    """Base of steps that take embeddings, not images: see `cbirkit.store.split_pipeline`."""

    _on_vectors = True

    def _validated(self, X, dtype=np.float32):
        """Embeddings as an array of as many dimensions as those of the fit."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=dtype, reset=False)

    def _keep(self, components, mean):
        """Take over what a linear step has learned; gives the step itself."""
        self.components_ = np.ascontiguousarray(components, dtype=np.float32)
        self.mean_ = mean
        return self
