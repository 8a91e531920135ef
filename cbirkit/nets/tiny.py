"""The network that ships with the kit: EfficientNet-Lite0 at half the pixels, its weights rounded to six bits."""

import hashlib
import zlib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .backbone import Backbone, load_into, pad_same, read_weights, shipped
from .preprocessing import Preprocessing

TINY_PREPROCESSING = Preprocessing(160, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "tiny.safetensors"
# Blocks of EfficientNet-Lite0 (Tan and Le 2019, table 1): (channels, channels inside, side of the filter, stride).
_BLOCKS = (
    (16, 32, 3, 1),
    (24, 96, 3, 2), (24, 144, 3, 1),
    (40, 144, 5, 2), (40, 240, 5, 1),
    (80, 240, 3, 2), (80, 480, 3, 1), (80, 480, 3, 1),
    (112, 480, 5, 1), (112, 672, 5, 1), (112, 672, 5, 1),
    (192, 672, 5, 2), (192, 1152, 5, 1), (192, 1152, 5, 1), (192, 1152, 5, 1),
    (320, 1152, 3, 1),
)  # fmt: skip
N_CHANNELS = 1280


def build(name, weights, size):
    """Build "tiny"; parameters and errors as for `cbirkit.nets.backbones.build`."""
    network = TinyNet()
    if isinstance(weights, str):
        weights = unrounded(read_weights(shipped(SHIPPED)))
    if weights is not None:
        load_into(network, weights, name)
    return Backbone(network, "nchw", TINY_PREPROCESSING)


def preset_of(name, weights="default"):
    """The `Preprocessing` of "tiny"."""
    return TINY_PREPROCESSING


def official_identity(name="tiny", weights="default"):
    """Name the shipped weights by the contents of their file: ``"tiny 3f…"`` (SHA-256).

    Raises
    ------
    ValueError
        Weights other than "default" are asked for.
    FileNotFoundError
        The file is not there: this is no checkout of the repository.
    """
    if weights != "default":
        raise ValueError(f'"tiny" has no weights {weights!r}; use "default", None or a path')
    return f"tiny {hashlib.sha256(shipped(SHIPPED).read_bytes()).hexdigest()}"


class Convolution(nn.Module):
    """A convolution, of each channel alone if `groups` says so, and ReLU6; stride 2 halves (n, c, h, w), rounding up."""

    def __init__(self, n_in, n_out, side, stride, groups=1):
        super().__init__()
        padding = 0 if stride == 2 else side // 2
        self.conv = nn.Conv2d(n_in, n_out, side, stride, padding=padding, groups=groups)

    def forward(self, x):
        x = pad_same(x, self.conv) if self.conv.stride[0] == 2 else x
        return F.relu6(self.conv(x), inplace=True)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1 x 1, filter each channel, narrow by 1 x 1 without a non-linearity.

    No batch normalisation: it is folded into the weights that the block begins with.
    """

    def __init__(self, n_in, n_out, n_wide, side, stride):
        super().__init__()
        self.adds = stride == 1 and n_in == n_out
        self.widen = nn.Conv2d(n_in, n_wide, 1) if n_wide > n_in else None
        self.filter = Convolution(n_wide, n_wide, side, stride, groups=n_wide)
        self.narrow = nn.Conv2d(n_wide, n_out, 1)

    def forward(self, x):
        y = x if self.widen is None else F.relu6(self.widen(x), inplace=True)
        y = self.narrow(self.filter(y))
        return x + y if self.adds else y


class TinyNet(nn.Module):
    """The architecture of ``Deep("tiny")``: EfficientNet-Lite0 without classifier and batch normalisation.

    Maps (n, 3, h, w), scaled to [-1, 1], to (n, 1280, h / 32, w / 32), rounded up, in [0, 6]. 3.4 million parameters. Random weights
    are drawn so that what differs between images neither fades nor grows from layer to layer (He et al. 2015, arXiv 1502.01852).

    References
    ----------
    Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019, arXiv 1905.11946.
    """

    def __init__(self):
        super().__init__()
        self.stem = Convolution(3, 32, 3, 2)
        n_in, blocks = 32, []
        for n_out, n_wide, side, stride in _BLOCKS:
            blocks.append(InvertedResidual(n_in, n_out, n_wide, side, stride))
            n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(n_in, N_CHANNELS, 1), nn.ReLU6())
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                gain = "linear" if name.endswith("narrow") else "relu"
                nn.init.kaiming_normal_(module.weight, nonlinearity=gain)
                nn.init.zeros_(module.bias)

    def forward(self, x):
        return self.last(self.blocks(self.stem(x)))


def unrounded(stored):
    """Weights of the shipped file as float32, ready for ``TinyNet().load_state_dict``.

    Each output channel of a convolution has its step, a fraction of its largest weight; what is stored are whole numbers of steps,
    compressed by zlib. The rest is float16. ``tools/make_tiny.py`` writes it.
    """
    state = {}
    for name, tensor in TinyNet().state_dict().items():
        if tensor.ndim == 4:
            codes = zlib.decompressobj().decompress(stored[name].numpy().tobytes(), tensor.numel())
            codes = torch.frombuffer(bytearray(codes), dtype=torch.int8).view(tensor.shape)
            state[name] = codes.float() * stored[f"{name}.step"][:, None, None, None]
        else:
            state[name] = stored[name].float()
    return state
