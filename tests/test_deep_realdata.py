"""Two ImageNet networks on real photographs: mean average precision against figures measured by other code."""

import json

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from cbirkit import ImageCollection
from cbirkit.encoders import Deep
from cbirkit.metrics import average_precision
from cbirkit.store import embed

POINTS = 0.5  # of 100


def encoder(name, realdata):
    files = realdata / "g_checkpoints"
    if name == "mobilenet_v2":
        return Deep(
            "tf_mobilenet_v2",
            files / "mobilenet_v2_tf2_dequant_torchvision.safetensors",
            device="cpu",
        )
    return Deep(
        "squeezenet1_0",
        files / "squeezenet1_0_deepcompression_torchvision.safetensors",
        resize="squash",
        device="cpu",
    )


def percent(queries, database, query_labels, labels, same):
    """Mean average precision times 100, the query itself left out where `same`."""
    scores = queries @ database.T
    precisions = []
    for row, label in enumerate(query_labels):
        order = np.argsort(-scores[row], kind="stable")
        order = order[order != row] if same else order
        precisions.append(average_precision(labels[order] == label))
    return 100 * float(np.mean(precisions))


def test_satellite(realdata):
    folder = realdata / "f_satellite_rsscn7"
    expected = json.loads((realdata / "baselines.json").read_text())["f_satellite_rsscn7"][
        "mobilenet_v2"
    ]["mAP"]
    table = pd.read_csv(folder / "labels.csv")
    done = embed(
        encoder("mobilenet_v2", realdata),
        ImageCollection.from_files([folder / f for f in table["file"]]),
        progress=False,
    )
    labels = table["class"].to_numpy()
    assert percent(done.embeddings, done.embeddings, labels, labels, True) == pytest.approx(
        expected, abs=POINTS
    )


def test_photographs_and_sketches(realdata):
    folder = realdata / "c_crossdomain_pacs"
    expected = json.loads((realdata / "baselines.json").read_text())["c_crossdomain_pacs mAP"]
    table = pd.read_csv(folder / "labels.csv").query("domain in ('photo', 'sketch')")
    done = embed(
        encoder("squeezenet1_0", realdata),
        ImageCollection.from_files([folder / f for f in table["file"]]),
        progress=False,
    )
    labels, photo = table["class"].to_numpy(), (table["domain"] == "photo").to_numpy()
    photos, sketches = done.embeddings[photo], done.embeddings[~photo]
    within = percent(photos, photos, labels[photo], labels[photo], True)
    across = percent(sketches, photos, labels[~photo], labels[photo], False)
    assert within == pytest.approx(expected["photo->photo"]["squeezenet1_0"], abs=POINTS)
    assert across == pytest.approx(expected["sketch->photo"]["squeezenet1_0"], abs=POINTS)
