"""Round the weights of EfficientNet-Lite0 to what ships as `data/tiny.safetensors`: a few seconds, no photographs.

    python tools/make_tiny.py --out data/tiny.safetensors

Needs the package that carries the weights of ``Deep("lite0")``. Afterwards everything that `data/README.md` says is to be made again
when `tiny.safetensors` changes is to be made again.
"""

import argparse
import hashlib
import json
from pathlib import Path

from safetensors.torch import save

from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.nets.names import LITE0_SHA256
from cbirkit.nets.tiny import SHIPPED, TinyNet, begin_from_lite0, rounded


def made():
    """The file as bytes."""
    network = TinyNet()
    begin_from_lite0(network, Deep("lite0", device="cpu").network)
    about = {"from": "EfficientNet-Lite0", "sha256": LITE0_SHA256}
    return save(
        rounded(network.state_dict()), metadata={"about": json.dumps(about)}
    )  # one entry: the order of several is left to chance


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    out = parser.parse_args().out
    data = made()
    write_bytes(out, data)
    print(f"{out.name}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
