"""Attack `tiny` and MobileNetV2 on real photographs, and carry each attack over to the other network.

    CBIRKIT_REALDATA=FOLDER OMP_NUM_THREADS=1 python tools/adversarial_photos.py      # prints its rows

Queries are the first photographs of things of UKBench (Nistér and Stewénius, CVPR 2006), the database the other three of each of
60 things. `tools/adversarial_runs.py` puts the rows into `data/adversarial.csv`; no picture is kept.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from cbirkit import attacks
from cbirkit.encoders import Deep

N_THINGS, N_QUERIES, SIDE, STEPS, LEVELS = 60, 24, 224, 5, (1, 2, 4, 8, 16)
CHECKPOINT = "g_checkpoints/mobilenet_v2_tf2_dequant_torchvision.safetensors"


def photographs(realdata):
    """Pixels of queries and database at one size, and which item is right for which query (bool)."""
    folder = Path(realdata) / "b_instance_ukbench250"
    table = pd.read_csv(folder / "labels.csv").sort_values("file")
    table = table[table["group"].isin(sorted(table["group"].unique())[:N_THINGS])]
    first = ~table.duplicated("group")
    queries, database = table[first].iloc[:: N_THINGS // N_QUERIES][:N_QUERIES], table[~first]
    pixels = [
        attacks.to_pixels([read(folder / name) for name in rows["file"]])
        for rows in (queries, database)
    ]
    return *pixels, queries["group"].to_numpy()[:, None] == database["group"].to_numpy()[None]


def read(path):
    """An image file squashed to one side, RGB uint8."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def photo_rows(realdata):
    """(seed, network, defence, attack, epsilon, recall@1) with and without attacks, own ones and the other network's."""
    began = time.process_time()
    queries, database, right = photographs(realdata)
    encoders = {
        "tiny": Deep("tiny", device="cpu"),
        "MobileNetV2": Deep(
            "tf_mobilenet_v2", Path(realdata) / CHECKPOINT, resize="squash", device="cpu"
        ),
    }
    models = {name: attacks.attackable(encoder) for name, encoder in encoders.items()}
    goals = {
        name: attacks.Misrank(attacks.embed_pixels(model, database), right)
        for name, model in models.items()
    }
    rows = [
        (0, name, "none", "clean", 0, recall(models[name], queries, goals[name])) for name in models
    ]
    for source, model in models.items():
        for level in LEVELS:
            made = attacks.PGD(level / 255, steps=STEPS)(
                model, queries, goals[source], batch_size=8
            )
            for name, victim in models.items():
                attack = "PGD" if name == source else f"from {source}"
                rows.append(
                    (0, name, "none", attack, level, recall(victim, made.pixels, goals[name]))
                )
            print(
                f"photographs, {source}, {level}/255: {time.process_time() - began:.0f} s",
                flush=True,
            )
    for name, model in models.items():
        made = attacks.Noise(LEVELS[-1] / 255)(model, queries, goals[name])
        rows.append((0, name, "none", "noise", LEVELS[-1], recall(model, made.pixels, goals[name])))
    return rows


def recall(model, pixels, goal):
    """Share of the queries whose first result is right."""
    return float((goal(torch.from_numpy(attacks.embed_pixels(model, pixels))) <= 0).float().mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "CBIRKIT_REALDATA" not in os.environ:
        sys.exit("set CBIRKIT_REALDATA to the folder with the photographs")
    print(pd.DataFrame(photo_rows(os.environ["CBIRKIT_REALDATA"])).to_string())
