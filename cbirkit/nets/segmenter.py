"""Networks that segment: a small one that says for each pixel whether it belongs to a thing, and torchvision's."""

import dataclasses
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .conv5 import CONV5_PREPROCESSING, Conv5
from .official import official_file
from .weights import read_weights

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "segmenter.safetensors"


class SegmenterNet(nn.Module):
    """`Conv5` as the way down, two steps up again with what was there before (a U-Net, small).

    185,801 numbers to learn. `forward` gives the logit of "thing" at half the resolution: (n, 3, h, w) -> (n, 1, h / 2, w / 2),
    for sides that are multiples of 8.

    Attributes
    ----------
    trunk : Conv5
        The way down.

    References
    ----------
    Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, arXiv 1505.04597.

    Examples
    --------
    >>> SegmenterNet()(torch.zeros(1, 3, 96, 96)).shape
    torch.Size([1, 1, 48, 48])
    """

    def __init__(self):
        super().__init__()
        self.trunk = Conv5()
        self.narrow = _layer(96 + 48, 48, 1)
        self.to_quarter = _layer(48, 32, 3)
        self.to_half = _layer(32 + 24, 16, 3)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, images):
        maps = [images]
        for block in self.trunk.blocks:
            maps.append(block(maps[-1]))
        half, quarter, eighth = maps[1], maps[3], maps[5]
        up = self.to_quarter(self.narrow(torch.cat([_doubled(eighth), quarter], dim=1)))
        return self.head(self.to_half(torch.cat([_doubled(up), half], dim=1)))


def _doubled(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _layer(n_in, n_out, side):
    convolution = nn.Conv2d(n_in, n_out, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


def load_segmenter(file=SHIPPED):
    """Return a `SegmenterNet` in eval mode with weights from a file (float16 is used as float32).

    Raises
    ------
    FileNotFoundError
        The file is not there.
    ValueError
        It holds other weights, or is damaged.
    """
    if Path(file) == SHIPPED and not SHIPPED.is_file():
        raise FileNotFoundError(
            f"the weights of the segmenter are not at {str(SHIPPED)!r}; install cbirkit from a checkout "
            "(pip install -e .), or pass weights= with the path of segmenter.safetensors"
        )
    network = SegmenterNet()
    try:
        counts = {
            name: value
            for name, value in network.state_dict().items()
            if name.endswith("num_batches_tracked")
        }
        network.load_state_dict(
            counts | {name: value.float() for name, value in read_weights(file).items()}
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{str(file)!r} does not hold the weights of a SegmenterNet ({reason}); train it anew"
        ) from error
    return network.eval()


def thing_probabilities(network, image, device):
    """Probability of "thing" at half the resolution, float32 tensor (1, 1, h / 2, w / 2), of RGB uint8 (h, w, 3), multiples of 8."""
    scaling = dataclasses.replace(CONV5_PREPROCESSING, size=image.shape[:2])
    with torch.inference_mode():
        return network.to(device)(scaling.to_tensor([image], device)).sigmoid()


def torchvision_segmenter(name, weights="default"):
    """A model of torchvision for instance or semantic segmentation, in eval mode.

    Parameters
    ----------
    name : str
    weights : "default", None or path

    Raises
    ------
    ValueError
        There is no such model, or the weights do not fit.
    ConnectionError
        The official weights are neither here nor to be had.
    """
    from torchvision import models

    known = [
        *models.list_models(module=models.detection, include="mask*"),
        *models.list_models(module=models.segmentation),
    ]
    if name not in known:
        raise ValueError(f"model must be one of {', '.join(known)}, got {name!r}")
    network = models.get_model(name, weights=None, weights_backbone=None)
    if weights is not None:
        path = _official(name) if weights == "default" else weights
        try:
            network.load_state_dict(read_weights(path))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(
                f"{str(path)!r} does not hold the weights of {name!r} ({reason})"
            ) from error
    return network.eval()


def _official(name):
    from torchvision import models

    try:
        return official_file(models.get_model_weights(name).DEFAULT.url, name)
    except ConnectionError as error:
        raise ConnectionError(
            f"the official weights of {name!r} are not on this machine and cannot be downloaded; pass weights=PATH of a file of yours, "
            "or use Segmenter(), Felzenszwalb() or SLIC(), which need no download"
        ) from error
