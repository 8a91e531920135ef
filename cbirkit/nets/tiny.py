"""The network that ships with the kit: small enough for a laptop, distilled from an ImageNet network on photographs."""

import hashlib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .preprocessing import Preprocessing

TINY_PREPROCESSING = Preprocessing(128, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "tiny.safetensors"
_STEM = (32, 48)
# Blocks of MobileNetV2 (Sandler et al. 2018, table 2), from its fourth on: (channels, expansion, stride).
_BLOCKS = (
    (32, 144, 2), (32, 192, 1), (32, 192, 1),
    (64, 192, 2), (64, 384, 1), (64, 384, 1), (64, 384, 1),
    (96, 384, 1), (96, 576, 1), (96, 576, 1),
    (160, 576, 2), (160, 960, 1),
)  # fmt: skip
_OF_MOBILENET = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16)  # torchvision's features[i] that each of them equals
N_CHANNELS = 320


def pad_for_stride_2(x):
    """Pad right and bottom by 1, as TensorFlow's SAME does before a 3 x 3 convolution of stride 2 on an even size."""
    return F.pad(x, (0, 1, 0, 1))


class Convolution(nn.Module):
    """A 3 x 3 convolution and ReLU6; stride 2 halves (n, c, h, w) as `pad_for_stride_2` says."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(n_in, n_out, 3, stride, padding=0 if stride == 2 else 1)

    def forward(self, x):
        return F.relu6(self.conv(pad_for_stride_2(x) if self.stride == 2 else x))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1 x 1, filter each channel by 3 x 3, narrow by 1 x 1 without a non-linearity.

    No batch normalisation: it is folded into the weights that the block begins with.
    """

    def __init__(self, n_in, n_out, n_wide, stride):
        super().__init__()
        self.stride, self.adds = stride, stride == 1 and n_in == n_out
        self.widen = nn.Conv2d(n_in, n_wide, 1)
        self.filter = nn.Conv2d(n_wide, n_wide, 3, stride, padding=0 if stride == 2 else 1, groups=n_wide)
        self.narrow = nn.Conv2d(n_wide, n_out, 1)

    def forward(self, x):
        y = F.relu6(self.widen(x))
        y = F.relu6(self.filter(pad_for_stride_2(y) if self.stride == 2 else y))
        y = self.narrow(y)
        return x + y if self.adds else y


class TinyNet(nn.Module):
    """The architecture of ``Deep("tiny")``: a cheap stem, twelve blocks of MobileNetV2, and a widening layer.

    Maps (n, 3, h, w), scaled to [-1, 1], to (n, 320, h / 32, w / 32), all >= 0. 1.09 million parameters.

    References
    ----------
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, arXiv 1801.04381. Its first
    four blocks, which take most of its time, are replaced by a stem of three convolutions; of the last blocks two are left out.
    """

    def __init__(self):
        super().__init__()
        first, second = _STEM
        self.stem = nn.Sequential(
            Convolution(3, first, 2), Convolution(first, second, 2), Convolution(second, second, 1), nn.Conv2d(second, 24, 1)
        )
        n_in, blocks = 24, []
        for n_out, n_wide, stride in _BLOCKS:
            blocks.append(InvertedResidual(n_in, n_out, n_wide, stride))
            n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(n_in, N_CHANNELS, 1), nn.ReLU())

    def forward(self, x):
        return self.last(self.blocks(self.stem(x)))


def begin_from_mobilenet(network, mobilenet):
    """Copy into a `TinyNet` the blocks it shares with torchvision's MobileNetV2, batch normalisation folded in.

    Parameters
    ----------
    network : TinyNet
        Changed in place; its stem and head stay as they are.
    mobilenet : torchvision.models.MobileNetV2
    """
    for block, number in zip(network.blocks, _OF_MOBILENET, strict=True):
        widen, narrow_and_filter = mobilenet.features[number].conv[0], mobilenet.features[number].conv
        pairs = (
            (block.widen, widen[0], widen[1]),
            (block.filter, narrow_and_filter[1][0], narrow_and_filter[1][1]),
            (block.narrow, narrow_and_filter[2], narrow_and_filter[3]),
        )
        for ours, theirs, norm in pairs:
            _copy_folded(ours, theirs, norm)


def _copy_folded(ours, conv, norm):
    """Set a convolution to `conv` followed by `norm` (a batch normalisation in inference, or the identity)."""
    bias = conv.bias if conv.bias is not None else torch.zeros(conv.out_channels)
    with torch.no_grad():
        if isinstance(norm, nn.BatchNorm2d):
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            ours.weight.copy_(conv.weight * gain[:, None, None, None])
            ours.bias.copy_((bias - norm.running_mean) * gain + norm.bias)
        else:
            ours.weight.copy_(conv.weight)
            ours.bias.copy_(bias)


def load_tiny(file=SHIPPED):
    """Return a `TinyNet` in eval mode with the shipped weights (stored as float16, used as float32).

    Raises
    ------
    FileNotFoundError
        The file is not there: this is no checkout of the repository.
    """
    from safetensors.torch import load_file

    _check_is_there(file)
    network = TinyNet()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()})
    return network.eval()


def tiny_identity(file=SHIPPED):
    """Name the shipped weights by the contents of their file: ``"tiny 3f…"`` (SHA-256)."""
    _check_is_there(file)
    return f"tiny {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"


def _check_is_there(file):
    if not Path(file).is_file():
        raise FileNotFoundError(
            f"the weights of the tiny network are not at {str(file)!r}; install cbirkit from a checkout "
            "(pip install -e .), or pass weights= with the path of tiny.safetensors"
        )
