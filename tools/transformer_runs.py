"""Train a small CNN and small transformers for equal numbers of steps, and write `data/transformers.csv` for notebook 10.

    OMP_NUM_THREADS=1 python tools/transformer_runs.py data/transformers.csv      # eight minutes of one core

Each learns to name categories of tabletop objects (32 pixels a side), less eight that choose its rate. A row says how well its vectors
retrieve these eight ("validation") and the categories that nobody saw ("map"): mAP, other views of the same object being junk. A network's
rate is the one with the best validation mAP after the last step, on plain pictures, as the mean of the seeds; the grid grows by factors of
two until the best rate has a worse one on both sides. With it the network is trained on scrambled pictures, too: "tiles", the 16 tiles of
8 x 8 pixels of every picture change places; "pixels", the 64 pixels of every tile do. The order is drawn once for all pictures.
Finished runs are kept in FILE: a run that was stopped goes on.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from cbirkit import Ranking, datasets, evaluate
from cbirkit.nets.conv5 import Conv5

RATES = (1e-3, 2e-3, 4e-3)
RUN = ["network", "pictures", "seed", "rate"]
HEAD = [*RUN, "step", "validation", "map"]
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


SCRAMBLED = [(name, layout) for layout in ("pixels", "tiles") for name in ("CNN", "ViT")]
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
    return round(evaluate(ranking, truth, metrics=["map"], n_bootstrap=0)["map"], 4)


class Table:
    """The finished runs, in a file from the first of them on."""

    def __init__(self, file, seeds):
        self.file, self.seeds = file, seeds
        self.rows = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=HEAD)
        self.close = datasets.close_ups(datasets.load_tabletop(), 32)
        pixels = torch.from_numpy(np.stack(list(self.close))).permute(0, 3, 1, 2)
        self.pixels = pixels.float() / 127.5 - 1

    def validation(self, name, layout, rate):
        """Train with every seed, where that was not done; the mean validation mAP after the last step."""
        for seed in self.seeds:
            run = (name, layout, seed, rate)
            if not (self.rows[RUN] == [*run]).all(axis=1).any():
                start = time.process_time()
                made = pd.DataFrame([(*run, *row) for row in self.trained(*run)], columns=HEAD)
                self.rows = pd.concat([self.rows, made]) if len(self.rows) else made
                self.rows.to_csv(self.file, index=False)
                print(*made.iloc[-1], f"{time.process_time() - start:.0f} s", flush=True)
        mine = (self.rows[RUN[:2]] == [name, layout]).all(axis=1) & (self.rows["rate"] == rate)
        return self.rows[mine & (self.rows["step"] == CHECKPOINTS[-1])]["validation"].mean()

    def trained(self, name, layout, seed, rate):
        """Yield (step, validation, map) of one run: AdamW, a warm-up of 50 steps, then a constant rate."""
        close, pixels = self.close, scrambled(self.pixels, layout, seed)
        test = ~close.column("seen_category")
        held = np.random.RandomState(seed).permutation(np.unique(close.labels[~test]))[:8]
        validate = np.isin(close.labels, held)
        learn = np.flatnonzero(~validate & ~test & close.column("seen_instance"))
        labels = torch.from_numpy(np.unique(close.labels[learn], return_inverse=True)[1])
        torch.manual_seed(seed)
        network, draw = NETWORKS[name](), np.random.RandomState(seed)
        head = nn.Linear(network(pixels[:2]).shape[1], int(labels.max()) + 1)
        both = [*network.parameters(), *head.parameters()]
        optimiser = torch.optim.AdamW(both, weight_decay=0.05)
        for step in range(1, CHECKPOINTS[-1] + 1):
            optimiser.param_groups[0]["lr"] = rate * min(step / 50, 1)
            batch = draw.choice(len(learn), 64, replace=False)
            loss = F.cross_entropy(head(network(pixels[learn[batch]])), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step in CHECKPOINTS:
                yield step, *(score(network, pixels[p], close[p]) for p in (validate, test))


def run(arguments=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table, best = Table(options.file, options.seeds), {}
    for name in NETWORKS:
        rates = [*RATES]
        while True:
            found = [table.validation(name, "plain", rate) for rate in rates]
            place = int(np.argmax(found))
            if 0 < place < len(rates) - 1:
                break
            rates = [rates[0] / 2, *rates] if place == 0 else [*rates, 2 * rates[-1]]
        best[name] = rates[place]
        print(name, dict(zip(rates, np.round(found, 4), strict=True)), flush=True)
    for name, layout in SCRAMBLED:
        table.validation(name, layout, best[name])


if __name__ == "__main__":
    run()
