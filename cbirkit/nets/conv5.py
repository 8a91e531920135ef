"""Networks small enough to be trained in a notebook: `Conv5`, the segmenter built on it, a generator and its discriminator."""

import dataclasses
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from .backbone import Backbone, load_into, read_weights, shipped
from .preprocessing import Preprocessing

CONV5_PREPROCESSING = Preprocessing(
    size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="squash"
)
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "segmenter.safetensors"


def build(name, weights, size):
    """Build "conv5"; parameters and errors as for `cbirkit.nets.backbones.build`."""
    network = Conv5()
    if weights is not None:
        load_into(network, weights, name)
    return Backbone(network, "nchw", CONV5_PREPROCESSING)


def preset_of(name, weights="default"):
    """The `Preprocessing` of "conv5"."""
    return CONV5_PREPROCESSING


def official_identity(name, weights="default"):
    """There are no official weights: ValueError."""
    raise ValueError(
        f'"conv5" has no official weights, got weights={weights!r}; use None for random ones, a path, or the backbone "tiny"'
    )


class Conv5(nn.Module):
    """Five blocks of 3 x 3 convolution, batch normalisation and ReLU; the first, second and fourth halve the resolution.

    156,792 numbers to learn; with a linear layer of 64 outputs on top, 163,000. `forward` gives the last map: of images of 64 pixels
    a side (n, 96, 8, 8). It has no head: pool the map and put on top what the task needs.

    Attributes
    ----------
    blocks : Sequential of 5 Sequential

    Examples
    --------
    >>> Conv5()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 96, 8, 8])
    """

    n_dims = 96

    def __init__(self):
        super().__init__()
        # channels in, out, side of the filter, stride
        plan = ((3, 24, 3, 2), (24, 48, 3, 2), (48, 48, 3, 1), (48, 96, 3, 2), (96, 96, 3, 1))
        self.blocks = nn.Sequential(*(_block(*shape) for shape in plan))

    def forward(self, images):
        """(n, 3, h, w) -> (n, 96, h / 8, w / 8)."""
        return self.blocks(images)


def _block(n_in, n_out, side, stride=1):
    convolution = nn.Conv2d(n_in, n_out, side, stride=stride, padding=side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


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
        self.narrow = _block(96 + 48, 48, 1)
        self.to_quarter = _block(48, 32, 3)
        self.to_half = _block(32 + 24, 16, 3)
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


def load_segmenter(weights="default"):
    """Return a `SegmenterNet` in eval mode, with the weights that ship or those of a file (float16 is used as float32).

    Raises
    ------
    FileNotFoundError
        The file is not there.
    ValueError
        It holds other weights, or is damaged.
    """
    network = SegmenterNet()
    path = shipped(SHIPPED) if weights == "default" else weights
    load_into(network, read_weights(path), "a SegmenterNet")
    return network.eval()


def thing_probabilities(network, image, device):
    """Probability of "thing" at half the resolution, float32 tensor (1, 1, h / 2, w / 2), of RGB uint8 (h, w, 3), multiples of 8."""
    scaling = dataclasses.replace(CONV5_PREPROCESSING, size=image.shape[:2])
    with torch.inference_mode():
        return network.to(device)(scaling.to_tensor([image], device)).sigmoid()


class Generator(nn.Module):
    """Noise and a class become a picture: three linear layers, batch normalisation and ReLU after the first two.

    ``forward(noise, classes)`` maps (n, n_latent), float32, and (n,), int64, to pixels (n, n_pixels) in [0, 1].

    References
    ----------
    Mirza and Osindero, "Conditional generative adversarial nets", 2014, arXiv 1411.1784: the class goes in beside the noise.

    Examples
    --------
    >>> Generator(10, 64)(torch.zeros(2, 16), torch.tensor([0, 9])).shape
    torch.Size([2, 64])
    """

    def __init__(self, n_classes, n_pixels, n_latent=16, n_hidden=128):
        super().__init__()
        self.classes = nn.Embedding(n_classes, 16)
        layers = []
        for n_in in (n_latent + 16, n_hidden):
            layers += [nn.Linear(n_in, n_hidden, bias=False), nn.BatchNorm1d(n_hidden), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(n_hidden, n_pixels), nn.Sigmoid())

    def forward(self, noise, classes):
        return self.layers(torch.cat([noise, self.classes(classes)], dim=1))


class Discriminator(nn.Module):
    """How real a picture of a class looks: one number, above 0 for real. Every layer has spectral norm 1.

    ``forward(pixels, classes)`` maps (n, n_pixels) in [0, 1] and (n,), int64, to (n,): ``gain * (w . h + e_class . h)`` of the features
    h, which is the projection discriminator.

    Parameters
    ----------
    gain : float
        Lipschitz constant. Where all layers have norm 1, differences between pictures fade on their way to the margins of the hinge.

    References
    ----------
    Miyato, Kataoka, Koyama and Yoshida, "Spectral normalization for generative adversarial networks", ICLR 2018, arXiv 1802.05957.
    Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018, arXiv 1802.05637.

    Examples
    --------
    >>> Discriminator(10, 64)(torch.zeros(2, 64), torch.tensor([0, 9])).shape
    torch.Size([2])
    """

    def __init__(self, n_classes, n_pixels, n_hidden=128, gain=12.0):
        super().__init__()
        self.gain = gain
        layers = [spectral_norm(nn.Linear(n, n_hidden)) for n in (n_pixels, n_hidden)]
        self.features = nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2))
        self.real = spectral_norm(nn.Linear(n_hidden, 1))
        self.classes = spectral_norm(nn.Embedding(n_classes, n_hidden))

    def forward(self, pixels, classes):
        h = self.features(2 * pixels - 1)  # (n, n_hidden)
        return self.gain * (self.real(h)[:, 0] + (self.classes(classes) * h).sum(dim=1))
