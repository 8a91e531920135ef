"""A loss and a miner of pytorch-metric-learning as a loss function of `train`."""

import functools
import types

from cbirkit.persistence import code_identity

from .._optional import require

_SETTINGS = (bool, int, float, str)


def metric_loss(embed, loss, miner=None):
    """A loss for `train`, from one that compares the embeddings of a batch with one another.

    Parameters
    ----------
    embed : callable
        ``embed(network, inputs)`` gives embeddings (n, n_dims); batches are (inputs, class numbers).
    loss : callable
        ``loss(embeddings, class_numbers, mined)`` gives a scalar tensor: any loss of pytorch-metric-learning, or a function of
        yours. One with weights of its own (proxies) is ``network["loss"]``, so that they learn, too.
    miner : callable, optional
        ``miner(embeddings, class_numbers)`` gives what `loss` is to look at: tuples of positions, (anchors, positives, negatives)
        or (anchors, positives, anchors, negatives). None: the loss looks at all.

    Returns
    -------
    callable
        ``loss(network, batch)``, with two numbers besides: ``spread``, the mean distance between two embeddings of a batch, which
        goes to 0 where an embedding collapses, and with a miner ``mined``, how many triplets or pairs were chosen.

    Examples
    --------
    >>> import torch
    >>> apart = metric_loss(lambda network, inputs: network(inputs), lambda rows, targets, mined: -rows.std())
    >>> sorted(apart(torch.nn.Identity(), (torch.eye(3), torch.arange(3)))[1])
    ['spread']
    """

    def step(network, batch, *, settings):
        torch = require("torch")
        inputs, targets = batch
        rows = embed(network, inputs)  # (n, n_dims)
        numbers = {"spread": torch.pdist(rows.detach().float()).mean() if len(rows) > 1 else 0.0}
        mined = None
        if miner is not None:
            mined = miner(rows.detach(), targets)
            numbers["mined"] = float(len(mined[0]) + (len(mined[2]) if len(mined) == 4 else 0))
        learned = (
            network["loss"]
            if isinstance(network, torch.nn.ModuleDict) and "loss" in network
            else loss
        )
        return _connected(learned(rows, targets, mined), rows), numbers

    settings = (
        describe_settings(loss),
        describe_settings(miner),
    )  # by which a checkpoint tells one margin from another
    return functools.partial(step, settings=settings)


def _connected(value, rows):
    """The loss as it is; where nothing was mined, a zero that still depends on the embeddings, so that training goes on."""
    return value if getattr(value, "requires_grad", True) else value + 0 * rows.sum()


def describe_settings(thing):
    """Text of the class and the plain settings (margins, temperatures …) of a loss or miner, or of the code of a function; None for None."""
    if thing is None or isinstance(thing, types.FunctionType):
        return code_identity(thing)
    parts, found = [("", thing)], []
    if hasattr(thing, "named_modules"):
        parts = list(thing.named_modules())
    for name, part in parts:
        values = {
            k: v
            for k, v in sorted(vars(part).items())
            if isinstance(v, _SETTINGS) and not k.startswith("_")
        }
        values.pop("training", None)
        found.append(
            (
                name,
                type(part).__qualname__,
                {k: v for k, v in values.items() if k not in _STATISTICS},
            )
        )
    return repr(found)


_STATISTICS = {  # what miners note about the last batch, which is no setting
    "num_pos_pairs", "num_neg_pairs", "num_triplets", "pos_pair_dist", "neg_pair_dist", "avg_triplet_margin", "avg_embedding_norm",
    "hardest_triplet_dist", "hardest_pos_pair_dist", "hardest_neg_pair_dist", "hardest_triplet", "final_avg_query_norm",
    "initial_avg_query_norm", "initial_avg_embedding_norm", "final_avg_embedding_norm", "loss",
}  # fmt: skip
