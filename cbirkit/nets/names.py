"""What the names of weights mean."""


def is_official(weights):
    """Whether `weights` names official weights ("default", "IMAGENET1K_V1") and not a file.

    Examples
    --------
    >>> is_official("default"), is_official("IMAGENET1K_V2"), is_official("mine.safetensors"), is_official(None)
    (True, True, False, False)
    """
    return isinstance(weights, str) and (weights == "default" or (weights.isidentifier() and weights.isupper()))
