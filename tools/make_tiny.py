"""Round the weights of EfficientNet-Lite0 to what ships as `data/tiny.safetensors`: a few seconds, no photographs.

    python tools/make_tiny.py --out data/tiny.safetensors

Needs the package that carries the weights of ``Deep("lite0")``. Afterwards everything that `data/README.md` says is to be made again
when `tiny.safetensors` changes is to be made again.
"""

import argparse
import hashlib
import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import save

from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.nets import LITE0_SHA256
from cbirkit.nets.tiny import SHIPPED, TinyNet


def begin_from_lite0(network, lite0):
    """Copy timm's EfficientNet-Lite0 into a `TinyNet`, batch normalisation folded in.

    Parameters
    ----------
    network : TinyNet
        Changed in place.
    lite0 : timm.models.EfficientNet
    """
    _copy_folded(network.stem.conv, lite0.conv_stem, lite0.bn1)
    theirs = [block for stage in lite0.blocks for block in stage]
    for ours, block in zip(network.blocks, theirs, strict=True):
        if ours.widen is None:
            pairs = [
                (ours.filter.conv, block.conv_dw, block.bn1),
                (ours.narrow, block.conv_pw, block.bn2),
            ]
        else:
            pairs = [
                (ours.widen, block.conv_pw, block.bn1),
                (ours.filter.conv, block.conv_dw, block.bn2),
            ]
            pairs.append((ours.narrow, block.conv_pwl, block.bn3))
        for convolution, conv, norm in pairs:
            _copy_folded(convolution, conv, norm)
    _copy_folded(network.last[0], lite0.conv_head, lite0.bn2)


def _copy_folded(ours, conv, norm):
    """Set a convolution to `conv` followed by `norm`, a batch normalisation in inference."""
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    with torch.no_grad():
        ours.weight.copy_(conv.weight * gain[:, None, None, None])
        ours.bias.copy_(norm.bias - norm.running_mean * gain)


def rounded(state):
    """Weights as they are stored.

    Each output channel of a convolution has its step, a fraction of its largest weight: 1/31 in 1 x 1 convolutions, 1/127 in others,
    which have few weights and mind more. The whole numbers are compressed by zlib, which brings six bits to about five. The rest is
    float16.
    """
    stored = {}
    for name, tensor in state.items():
        if tensor.ndim != 4:
            stored[name] = tensor.half().contiguous()
            continue
        step = tensor.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / (
            31 if tensor.shape[2:] == (1, 1) else 127
        )
        codes = torch.round(tensor / step[:, None, None, None]).to(torch.int8)
        stored[name] = torch.frombuffer(
            bytearray(zlib.compress(codes.numpy().tobytes(), 9)), dtype=torch.uint8
        )
        stored[f"{name}.step"] = step.float()
    return stored


def made():
    """The file as bytes."""
    network = TinyNet()
    begin_from_lite0(network, Deep("lite0", device="cpu").network)
    about = {"from": "EfficientNet-Lite0", "sha256": LITE0_SHA256}
    # one entry: the order of several is left to chance
    return save(rounded(network.state_dict()), metadata={"about": json.dumps(about)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    out = parser.parse_args().out
    data = made()
    write_bytes(out, data)
    print(f"{out.name}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
