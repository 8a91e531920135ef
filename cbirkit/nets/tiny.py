"""The network that ships with the kit: small enough for a laptop, distilled from an ImageNet network on photographs."""

import hashlib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .preprocessing import Preprocessing

TINY_PREPROCESSING = Preprocessing(112, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "tiny.safetensors"
# Blocks of MobileNetV2 (Sandler et al. 2018, table 2): (channels, channels inside, stride).
_BLOCKS = (
    (16, 32, 1), (24, 96, 2), (24, 144, 1),
    (32, 144, 2), (32, 192, 1), (32, 192, 1),
    (64, 192, 2), (64, 384, 1), (64, 384, 1), (64, 384, 1),
    (96, 384, 1), (96, 576, 1), (96, 576, 1),
    (160, 576, 2), (160, 960, 1),
)  # fmt: skip
_OF_MOBILENET = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16)  # torchvision's features[i] that each of them equals
N_CHANNELS = 320


def pad_for_stride_2(x):
    """Pad by 1 right and bottom, and where the size is odd left and top too: TensorFlow's SAME for a 3 x 3 convolution of stride 2."""
    height, width = x.shape[2:]
    return F.pad(x, (width % 2, 1, height % 2, 1))


class Convolution(nn.Module):
    """A 3 x 3 convolution, of each channel alone if `groups` says so, and ReLU6; stride 2 halves (n, c, h, w), rounding up."""

    def __init__(self, n_in, n_out, stride, groups=1):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(n_in, n_out, 3, stride, padding=0 if stride == 2 else 1, groups=groups)

    def forward(self, x):
        return F.relu6(self.conv(pad_for_stride_2(x) if self.stride == 2 else x), inplace=True)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1 x 1, filter each channel by 3 x 3, narrow by 1 x 1 without a non-linearity.

    No batch normalisation: it is folded into the weights that the block begins with.
    """

    def __init__(self, n_in, n_out, n_wide, stride):
        super().__init__()
        self.adds = stride == 1 and n_in == n_out
        self.widen = nn.Conv2d(n_in, n_wide, 1) if n_wide > n_in else None
        self.filter = Convolution(n_wide, n_wide, stride, groups=n_wide)
        self.narrow = nn.Conv2d(n_wide, n_out, 1)

    def forward(self, x):
        y = x if self.widen is None else F.relu6(self.widen(x), inplace=True)
        y = self.narrow(self.filter(y))
        return x + y if self.adds else y


class TinyNet(nn.Module):
    """The architecture of ``Deep("tiny")``: MobileNetV2 up to its last but one block, one block left out, and a widening layer.

    Maps (n, 3, h, w), scaled to [-1, 1], to (n, 320, h / 32, w / 32), rounded up, all >= 0. 1.06 million parameters. Random weights
    are drawn so that what differs between images neither fades nor grows from layer to layer (He et al. 2015, arXiv 1502.01852).

    References
    ----------
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, arXiv 1801.04381.
    """

    def __init__(self):
        super().__init__()
        self.stem = Convolution(3, 32, 2)
        n_in, blocks = 32, []
        for n_out, n_wide, stride in _BLOCKS:
            blocks.append(InvertedResidual(n_in, n_out, n_wide, stride))
            n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(n_in, N_CHANNELS, 1), nn.ReLU())
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if name.endswith("narrow") else "relu")
                nn.init.zeros_(module.bias)

    def forward(self, x):
        return self.last(self.blocks(self.stem(x)))


def begin_from_mobilenet(network, mobilenet):
    """Copy into a `TinyNet` what it shares with torchvision's MobileNetV2, batch normalisation folded in.

    The last layer begins as the identity and its negative, so that with its ReLU nothing of the last block's map is lost.

    Parameters
    ----------
    network : TinyNet
        Changed in place.
    mobilenet : torchvision.models.MobileNetV2
    """
    _copy_folded(network.stem.conv, mobilenet.features[0][0], mobilenet.features[0][1])
    for block, number in zip(network.blocks, _OF_MOBILENET, strict=True):
        *activated, narrow, norm = mobilenet.features[number].conv
        for ours, theirs in zip([block.widen, block.filter.conv][-len(activated) :], activated, strict=True):
            _copy_folded(ours, theirs[0], theirs[1])
        _copy_folded(block.narrow, narrow, norm)
    identity = torch.eye(N_CHANNELS // 2)
    with torch.no_grad():
        network.last[0].weight.copy_(torch.cat([identity, -identity])[:, :, None, None])
        network.last[0].bias.zero_()


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
