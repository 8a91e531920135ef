"""Fit an encoder that learns, and know on what."""

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from .._progress import bars
from ..images import ImageProblem
from ..store import embed, split_pipeline


def steps_of(encoder):
    """The estimators that a pipeline or union is made of; else the encoder alone."""
    if isinstance(encoder, Pipeline | FeatureUnion):
        steps = encoder.steps if isinstance(encoder, Pipeline) else encoder.transformer_list
        return [
            part
            for _, step in steps
            if step not in (None, "passthrough", "drop")
            for part in steps_of(step)
        ]
    return [encoder]


def is_fitted(encoder):
    """Whether ``transform`` can be used: all steps are fitted (scikit-learn asks the last one only) or learn nothing."""
    return all(_step_is_fitted(step) for step in steps_of(encoder))


def _step_is_fitted(step):
    if not hasattr(step, "fit"):
        return True
    try:
        check_is_fitted(step)
    except NotFittedError:
        return False
    except (AttributeError, TypeError):  # no estimator of scikit-learn's kind
        return _has_learned(step)
    return True


def _has_learned(step):
    names = {name for name in vars(step) if name.endswith("_") and not name.startswith("_")}
    return bool(names - {"n_features_in_", "feature_names_in_"})


def fit_encoder(encoder, images, encoder_images=None, *, store=None, progress=True):
    """Fit an encoder if it needs it; the one given stays as it is.

    Parameters
    ----------
    encoder : estimator
    images : ImageCollection
        The database.
    encoder_images : ImageCollection, optional
        Images to learn from instead.

    Returns
    -------
    encoder : estimator
        The one given if it was fitted, else a fitted clone.
    note : str
        For the protocol: on what it was fitted; empty if nothing was learned here.

    Raises
    ------
    ValueError
        `encoder_images` are given for an encoder that is fitted already.
    """
    if is_fitted(encoder):
        if encoder_images is not None:
            raise ValueError(
                f"{type(encoder).__name__} is fitted already (or learns nothing), so encoder_images would not be used; "
                "leave them out, or pass sklearn.base.clone(encoder)"
            )
        return encoder, ""
    training = images if encoder_images is None else encoder_images
    head, tail = split_pipeline(encoder)
    fitted = head if is_fitted(head) else _fit_on_images(head, training, progress)
    if tail is not None:
        names = [name for name, _ in encoder.steps]
        learned = clone(tail).fit(
            np.asarray(embed(fitted, training, store, progress=progress).embeddings)
        )
        parts = steps_in_order(fitted) + [step for _, step in learned.steps]
        kept = [
            n
            for n, (_, step) in zip(names, encoder.steps, strict=True)
            if step not in (None, "passthrough")
        ]
        fitted = Pipeline(list(zip(kept, parts, strict=True)))
    if not any(_has_learned(step) for step in steps_of(fitted)):
        return fitted, ""
    where = "the database" if encoder_images is None else f"{len(training):,} images given for it"
    return fitted, f"encoder fitted on {where}"


def steps_in_order(encoder):
    """The steps of a pipeline, or the encoder as the only one."""
    return [step for _, step in encoder.steps] if type(encoder) is Pipeline else [encoder]


def _fit_on_images(encoder, images, progress):
    try:
        with bars(progress):
            return clone(encoder, safe=False).fit(images)
    except ImageProblem as problem:
        good = images.verify(progress=progress)
        if not len(good):
            raise ValueError(
                f"none of the {len(images)} images can be used; one of them: {problem}"
            ) from problem
        with bars(progress):
            return clone(encoder, safe=False).fit(good)
