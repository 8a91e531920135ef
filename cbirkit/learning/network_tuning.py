"""Train the network of a `Deep` encoder: its last layers, or all of it."""

import copy
import dataclasses

import numpy as np

from .._optional import require
from .batches import ImageBatches
from .labels import labels_of_validation
from .loop import train
from .projection import normalised_softmax
from .samplers import InOrder
from .scoring import check_pairs, retrieval_score
from .unfreezing import unfreeze


def tune_network(encoder, images, mode, validation, epochs, checkpoint, options):
    """The encoder and its history; parameters as of `cbirkit.learning.fine_tune`, all given."""
    from ..nets.extraction import pick_device

    torch = require("torch")
    if options.device == "auto":
        options = dataclasses.replace(options, device=encoder.device)
    settings = {name: getattr(options, name) for name in ("random_state", "memory", "progress")}
    settings["preprocessing"] = encoder.preprocessing
    batches = ImageBatches(
        images, options.labels, batch_size=options.batch_size, augment=options.augment, **settings
    )
    if len(batches.classes) < 2:
        raise ValueError(
            f"all {len(images)} images have the label {batches.classes.tolist()[0]!r}; give at least two classes to tell apart"
        )
    backbone = encoder.network.cpu()
    black = encoder.preprocessing([np.zeros((8, 8, 3), np.uint8)])
    unfreeze(backbone, black, 1.0 if mode == "full" else options.unfreeze)
    with torch.random.fork_rng(devices=[]):  # the layer's own random start is not used
        classifier = torch.nn.Linear(encoder.n_dims, len(batches.classes), bias=False)
    network = torch.nn.ModuleDict({"backbone": backbone, "classifier": classifier})
    pool = _pooling(encoder)
    _imprint(network, batches, pool, pick_device(options.device))
    validate = None
    if validation is not None:
        validate = _validator(validation, labels_of_validation(validation, options), pool, settings)
    loss = normalised_softmax(pool, scale=options.scale, label_smoothing=options.label_smoothing)
    history = train(
        network,
        batches,
        loss,
        epochs=epochs,
        validate=validate,
        checkpoint=checkpoint,
        options=options,
    )
    return encoder.with_state(backbone.state_dict()), history


def _imprint(network, batches, pool, device):
    """Let the class vectors be the means of the embeddings of their images, not augmented."""
    torch = require("torch")
    len(batches)  # reads the images
    plain = copy.copy(batches)  # shares the pixels
    plain.augment, plain.sampler = None, InOrder(64)
    rows, targets = _embeddings(network.to(device).eval(), plain, pool, device)
    sums = torch.zeros(len(batches.classes), rows.shape[1]).index_add_(0, targets, rows)
    with torch.no_grad():
        network["classifier"].weight.copy_(torch.nn.functional.normalize(sums))


def _embeddings(network, batches, pool, device):
    """L2-normalised features (n, n_dims) and class numbers (n,) of one pass, on the CPU."""
    torch = require("torch")
    with torch.no_grad():
        parts = [
            (pool(network, images).cpu(), targets.cpu())
            for images, targets in batches.epoch(0, device=device)
        ]
    rows, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    return torch.nn.functional.normalize(rows), targets


def _pooling(encoder):
    """A function of (network, images) that gives pooled features (n, n_dims), with gradients."""
    extractor, pooling, p = encoder.extractor, encoder.pooling, encoder.p
    return lambda network, images: extractor.pool(
        network["backbone"](images).float(), images.shape[-2:], pooling, p
    )


def _validator(validation, labels, pool, settings):
    """The score of a validation split, its images decoded once."""
    batches = ImageBatches(validation, labels, sampler=InOrder(64), **settings)
    check_pairs(batches.targets)

    def validate(network):
        rows, targets = _embeddings(network, batches, pool, next(network.parameters()).device)
        return retrieval_score(rows.numpy(), targets.numpy())

    return validate
