"""Train a small CNN and small transformers for equal numbers of steps, and write `data/transformers.csv` for notebook 10.

    python tools/transformer_runs.py data/transformers.csv            # about 6 minutes of a quiet core

Each learns to name categories of tabletop objects (32 pixels a side), less eight that choose its rate; a row says how well its vectors
retrieve the categories that it never saw: mAP, other views of the same object being junk. "tiles": the 16 tiles of 8 x 8 pixels of every
picture change places; "pixels": the 64 pixels of every tile do. The order is drawn once for all pictures.
"""

import argparse

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from cbirkit import Ranking, datasets, evaluate
from cbirkit.nets.conv5 import Conv5

RATES = (1e-3, 2e-3, 4e-3)
HEAD = ["network", "pictures", "seed", "rate", "step", "map"]
CHECKPOINTS = (50, 100, 200)


class ViT(nn.Module):
    """Patches of 8 x 8 pixels, or a convolutional stem of the same stride, four layers of attention, and their mean."""

    def __init__(self, stem="patches", dim=64, depth=4):
        super().__init__()
        if stem == "patches":
            self.stem = nn.Conv2d(3, dim, 8, stride=8)
        else:
            ends = ((3, 24), (24, 48), (48, dim))
            parts = [(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in ends]
            self.stem = nn.Sequential(*(nn.Sequential(*three) for three in parts))
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, dim))
        kwargs = {"activation": "gelu", "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, **kwargs)
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(dim), False)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).transpose(1, 2)  # (n, 16, dim)
        return self.layers(tokens + self.position).mean(dim=1)


def cnn():
    """`Conv5` and the mean of its map."""
    return nn.Sequential(Conv5(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


RUNS = [(name, layout) for layout in ("plain", "pixels", "tiles") for name in ("CNN", "ViT")]
RUNS.append(("ViT, convolutional stem", "plain"))
NETWORKS = {"CNN": cnn, "ViT": ViT, "ViT, convolutional stem": lambda: ViT("convolutions")}


def scrambled(pixels, layout, seed):
    """Pictures (n, 3, 32, 32) with their tiles, or the pixels of each tile, in another order, the same for all."""
    random, tiles = np.random.RandomState(seed), F.unfold(pixels, 8, stride=8)  # (n, 3 * 64, 16)
    if layout == "tiles":
        tiles = tiles[:, :, torch.from_numpy(random.permutation(16))]
    elif layout == "pixels":
        order = torch.from_numpy(random.permutation(64))
        tiles = tiles.unflatten(1, (3, 64))[:, :, order].flatten(1, 2)
    return F.fold(tiles, 32, 8, stride=8)


def score(network, pixels, images):
    """mAP of every first and second view against the others."""
    network.eval()
    with torch.no_grad():
        rows = F.normalize(torch.cat([network(part) for part in pixels.split(256)])).numpy()
    asked = np.flatnonzero(images.column("split") == "query")
    other = np.flatnonzero(images.column("split") != "query")
    far = 1 - rows[asked] @ rows[other].T
    ranking = Ranking.from_distances(far, images.ids[asked], images.ids[other])
    truth = images.relevance(images[asked], images[other], by="label", junk="instance")
    network.train()
    return evaluate(ranking, truth, metrics=["map"], n_bootstrap=0)["map"]


def trained(name, rate, seed, learned, judged, checkpoints):
    """Yield (step, mAP) of one run: AdamW, a warm-up of 50 steps, then a constant rate."""
    torch.manual_seed(seed)
    (pixels, labels), network, draw = learned, NETWORKS[name](), np.random.RandomState(seed)
    head = nn.Linear(network(pixels[:2]).shape[1], int(labels.max()) + 1)
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], weight_decay=0.05)
    for step in range(1, checkpoints[-1] + 1):
        optimiser.param_groups[0]["lr"] = rate * min(step / 50, 1)
        batch = torch.from_numpy(draw.choice(len(pixels), 64, replace=False))
        loss = F.cross_entropy(head(network(pixels[batch])), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in checkpoints:
            yield step, score(network, *judged)


def run(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    close = datasets.close_ups(datasets.load_tabletop(), 32)
    everything = torch.from_numpy(np.stack(list(close))).permute(0, 3, 1, 2).float() / 127.5 - 1
    rows, rates = [], {}
    for seed in options.seeds:
        seen = np.unique(close.labels[close.column("seen_category")])
        held = np.random.RandomState(seed).permutation(seen)[:8]
        validate, test = np.isin(close.labels, held), ~close.column("seen_category")
        learn = ~validate & ~test & close.column("seen_instance")
        codes = torch.from_numpy(np.unique(close.labels[learn], return_inverse=True)[1])
        for name, layout in RUNS:
            pixels = scrambled(everything, layout, seed)
            learned, hidden = (pixels[learn], codes), (pixels[test], close[test])
            if name not in rates:  # chosen once, on validation categories and plain pictures
                judged = pixels[validate], close[validate]
                tried = [next(trained(name, r, seed, learned, judged, (100,)))[1] for r in RATES]
                rates[name] = RATES[int(np.argmax(tried))]
            for step, found in trained(name, rates[name], seed, learned, hidden, CHECKPOINTS):
                rows.append((name, layout, seed, rates[name], step, round(found, 4)))
            print(*rows[-1], flush=True)
    pd.DataFrame(rows, columns=HEAD).to_csv(options.file, index=False)


if __name__ == "__main__":
    run()
