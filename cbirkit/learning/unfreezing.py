"""Which weights of a network learn."""

import numbers

from .._optional import require


def parts_in_order(network, images):
    """The parameters that the output depends on, in the order in which the network uses them.

    Parameters
    ----------
    network : torch.nn.Module
        With ``requires_grad`` set everywhere.
    images : tensor (1, 3, h, w)

    Returns
    -------
    list of (str, list of Parameter)
        Names of modules with parameters of their own, and these.
    """
    begun, handles = {}, []

    def note(name):
        def hook(module, inputs):
            begun.setdefault(name, len(begun))

        return hook

    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(note(name)))
    try:
        output = network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    named = dict(network.named_parameters())
    gradients = require("torch").autograd.grad(
        output.float().sum(), list(named.values()), allow_unused=True
    )
    used = {
        id(p) for p, gradient in zip(named.values(), gradients, strict=True) if gradient is not None
    }
    parts = []
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) in used]
        if own:
            user = name
            while user not in begun:  # its weights are read by the module around it
                user = user.rpartition(".")[0]
            parts.append((begun[user], len(parts), name, own))
    return [(name, own) for _, _, name, own in sorted(parts, key=lambda part: part[:2])]


def unfreeze(network, images, which):
    """Let a part of a network learn and freeze the rest.

    Parameters
    ----------
    network, images
        As for `parts_in_order`.
    which : float in (0, 1], or sequence of str
        The last modules that hold at least this share of the used parameters; or names of modules, with all
        below them.

    Raises
    ------
    ValueError
        A share out of range, or a name that is not there.
    """
    network.requires_grad_(True)
    parts = parts_in_order(network, images)
    network.requires_grad_(False)
    if isinstance(which, numbers.Real):
        if not 0 < which <= 1:
            raise ValueError(
                f"unfreeze must be a share of the parameters in (0, 1] or names of layers, got {which!r}; use 0.3, say"
            )
        wanted = which * sum(p.numel() for _, own in parts for p in own)
        for _, own in reversed(parts):
            if wanted <= 0:
                break
            for parameter in own:
                parameter.requires_grad_(True)
                wanted -= parameter.numel()
        return
    used = {id(p) for _, own in parts for p in own}
    for layer in [which] if isinstance(which, str) else which:
        chosen = [
            p
            for n, p in network.named_parameters()
            if (n == layer or n.startswith(f"{layer}.")) and id(p) in used
        ]
        if not chosen:
            names = ", ".join(
                dict.fromkeys(".".join(name.split(".")[:2]) for name, _ in parts if name)
            )
            raise ValueError(
                f"unfreeze names {layer!r}, which holds no weight that is used; there are {names}"
            )
        for parameter in chosen:
            parameter.requires_grad_(True)
