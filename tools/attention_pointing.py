"""Where attention looks in photographs: the pointing game on the masks of COCO pictures, `data/attention_pointing.csv`.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/attention_pointing.py      # four minutes of one core

The attention of notebook 09 is trained anew with three seeds, on rendered objects only. FOLDER holds `m_coco131` with its
`annotations.json` (COCO style). A row for each picture and size: how much of it the masks cover (`area`: how often a random place hits), and
for each method 1 where the centre of its strongest cell lies on a masked object. No picture is kept.
"""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from cbirkit import datasets
from cbirkit.encoders import Deep
from cbirkit.images.files import read_image

OUT = Path(__file__).resolve().parent.parent / "data" / "attention_pointing.csv"
LAYER, SIZE, SIZES, SEEDS, STEPS, BATCH, RATE = (
    "blocks.5",
    160,
    (160, 320),
    (0, 1, 2),
    200,
    64,
    5e-3,
)


def tokens(pictures, size):
    """Maps of `LAYER` as rows of positions, (n, h * w, c)."""
    encoder = Deep("lite0", layer=LAYER, size=size, resize="squash", device="cpu")
    maps = torch.from_numpy(encoder.feature_maps(pictures))
    return maps.flatten(2).transpose(1, 2).contiguous()


def trained_scorer(seed):
    """The scorer of notebook 09, trained on the rendered objects that it trains on, and one with random weights."""
    objects = datasets.load_tabletop()
    seen = np.unique(objects.labels[objects.column("seen_category")])
    names = np.random.RandomState(seed).permutation(seen)[12:]
    views = np.isin(objects.column("view"), (0, 2, 4, 6))
    pictures = objects[np.isin(objects.labels, names) & views]
    x = tokens(tqdm(list(pictures)), SIZE)
    y = torch.from_numpy(np.unique(pictures.labels, return_inverse=True)[1])
    mean, std = x.mean(dim=(0, 1)), x.std(dim=(0, 1))
    torch.manual_seed(seed)
    scorers = [
        nn.Sequential(nn.Linear(x.shape[2], 64), nn.ReLU(), nn.Linear(64, 1), nn.Softplus())
        for _ in range(2)
    ]
    scorer, classifier = scorers[0], nn.Linear(x.shape[2], len(names))
    parameters = [*scorer.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,))
        scores = scorer((x[rows] - mean) / std)  # (n, positions, 1)
        pooled = (scores / scores.sum(dim=1, keepdim=True) * x[rows]).sum(dim=1)
        logits = classifier((pooled - mean) / std)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, y[rows], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
    return [lambda maps, net=net: net((maps - mean) / std)[..., 0] for net in scorers]


def masked_photographs(folder):
    """Names, pictures (RGB uint8) and the union of the masks (bool) of the photographs that have masks."""
    told = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    for image in told["images"]:
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for outline in told["annotations"]:
            if outline["image_id"] == image["id"] and isinstance(outline["segmentation"], list):
                for polygon in outline["segmentation"]:
                    cv2.fillPoly(mask, [np.round(np.reshape(polygon, (-1, 2))).astype(np.int32)], 1)
        if mask.any():
            picture = read_image((folder / "images" / image["file_name"]).read_bytes())
            yield image["id"], picture, mask > 0


def hits(scores, masks):
    """Whether the centre of the strongest cell of each picture, scores (n, positions) of a square grid, lies on its mask."""
    side = round(scores.shape[1] ** 0.5)
    rows, columns = np.divmod(np.argmax(scores, axis=1), side)
    centres = (np.stack([rows, columns], axis=1) + 0.5) / side
    pairs = zip(centres, masks, strict=True)
    return [int(mask[tuple((centre * mask.shape).astype(int))]) for centre, mask in pairs]


def pointing_rows(folder):
    names, pictures, masks = zip(*masked_photographs(folder), strict=True)
    pairs = [trained_scorer(seed) for seed in SEEDS]
    tables = []
    for size in SIZES:
        maps = tokens(list(pictures), size)
        found = {
            "contrast": (maps - maps.mean(dim=1, keepdim=True)).norm(dim=2).numpy(),
            "centre": np.ones((len(maps), 1)),  # one cell: the middle of the picture
        }
        with torch.inference_mode():
            for seed, two in zip(SEEDS, pairs, strict=True):
                for kind, scorer in zip(("attention", "random"), two, strict=True):
                    found[f"{kind}_{seed}"] = scorer(maps).numpy()
        area = [round(mask.mean(), 4) for mask in masks]
        table = pd.DataFrame({"image": names, "size": size, "area": area})
        tables.append(table.assign(**{name: hits(scores, masks) for name, scores in found.items()}))
    return pd.concat(tables)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "CBIRKIT_REALDATA" not in os.environ:
        sys.exit("set CBIRKIT_REALDATA to the folder that holds m_coco131")
    table = pointing_rows(Path(os.environ["CBIRKIT_REALDATA"]) / "m_coco131")
    table.to_csv(OUT, index=False, lineterminator="\n")
    print(table.groupby("size").mean().round(3).T.to_string())
