"""What 8 bits, and fewer bytes, cost on photographs: `data/on_device.csv`.

    OMP_NUM_THREADS=1 python tools/on_device_runs.py --realdata FOLDER --work WORK      # or set CBIRKIT_REALDATA; its cost is printed

`lite0` at its own 224 pixels as ONNX files, on three sets of photographs: every photograph is a query, the others of its set are the
database, those of its class are relevant. Calibration images, and the 800 photographs that PCA and thresholds are learned on, come from
`j_photos_wide` without the two sources that it shares with a set of the kit. `part` "files": a row for each ONNX file (mAP; `mixed`, where
its embeddings query those of the float network; `overlap` of the ten nearest); "codes": embeddings of the float network in fewer bytes.
`difference` is to the float network, or to its whole embeddings; intervals are at 95 % over classes. Embeddings are kept in WORK; what is
there is not made again.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from onnxruntime.quantization import QuantType, quantize_dynamic
from sklearn.decomposition import PCA

from cbirkit import ImageCollection, Ranking, Relevance, compress, evaluate
from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.encoders.base import unit
from cbirkit.evaluation.resample import bootstrap_means, interval

DATA = Path(__file__).resolve().parent.parent / "data"
SETS = {"clothing": ("a_category_clothing10", 40), "flowers": ("k_flowers300", 60), "ucmerced": ("l_ucmerced420", 20)}  # fmt: skip
LEARN, N_LEARN, N_CALIBRATION, ONE_SOURCE = "j_photos_wide", 800, 128, "houses"
SHARED = ("flowers", "coco")


def kept(path, make, *arguments):
    """An array that is made once."""
    if not path.exists():
        began, rows = time.process_time(), make(*arguments)
        np.save(path, rows)
        print(f"{path.stem}: {time.process_time() - began:.0f} s", flush=True)
    return np.load(path)


def engines_of(general, houses, work):
    """Name: encoder of an ONNX file, each written once."""
    noise = np.random.default_rng(0).integers(0, 256, (N_CALIBRATION, 224, 224, 3), np.uint8)
    images = {
        "int8": [general[k] for k in range(N_CALIBRATION)],
        "int8, 8 photographs": [general[k] for k in range(8)],
        "int8, one source": [houses[k] for k in range(N_CALIBRATION)],
        "int8, noise": list(noise),
        "int8, plain grey": [np.full((224, 224, 3), 128, np.uint8)] * 4,
    }
    names = ["float32", "float16", *images, "int8, dynamic"]
    engines = {name: compress.OnnxEncoder(work / f"{name}.onnx") for name in names}
    for name in (name for name in names if not engines[name].path.exists()):
        precision, path = name.split(",")[0], engines[name].path
        if name == "int8, dynamic":
            quantize_dynamic(str(engines["float32"].path), str(path), weight_type=QuantType.QUInt8)
        else:
            encoder = Deep("lite0", device="cpu") if name == "float32" else engines["float32"]
            compress.to_onnx(encoder, path, precision=precision, calibration=images.get(name))
    return engines


def of_query(queries, database, labels):
    """Average precision of each row of `queries` among the others of `database`, ties as expected."""
    distances = 1 - unit(queries) @ unit(database).T
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :-1]
    ids = np.arange(len(labels)).astype(str)
    ranking = Ranking(ids, ids, order, np.take_along_axis(distances, order, axis=1).round(6))
    truth = Relevance.from_labels(ids, ids, labels, labels)
    return evaluate(ranking, truth, metrics=["map"], ties="expected", n_bootstrap=0).per_query["map"].to_numpy()  # fmt: skip


def scored(values, whole, labels):
    """Mean with its interval, and the paired difference with its own, over classes."""
    codes, row = np.unique(labels, return_inverse=True)[1], {}
    for name, part in (("map", values), ("difference", values - whole)):
        low, high = interval(bootstrap_means(part[:, None], codes, 2000, 0)[:, 0])
        row |= {name: part.mean(), f"{name}_low": low, f"{name}_high": high}
    return row


def codes_of(learning, X):
    """Name: (bytes per image, embeddings as they are compared); learned on photographs of no set."""
    centre = learning.mean(axis=0)
    chance = np.random.default_rng(0).normal(size=(X.shape[1], 256)).astype(np.float32)
    maps = {"PCA": PCA(256, random_state=0).fit(learning).components_.T, "random": chance}
    for name, matrix in maps.items():
        known, rows = (learning - centre) @ matrix, (X - centre) @ matrix
        yield f"{name}, 32 floats", 128, unit(rows[:, :32])
        yield f"{name}, 8 floats", 32, unit(rows[:, :8])
        step = np.abs(unit(known[:, :32])).max() / 127
        yield f"{name}, 32 in 8 bits", 32, np.round(unit(rows[:, :32]) / step).clip(-127, 127)
        yield f"{name}, 256 signs", 32, np.where(rows > np.median(known, axis=0), 1.0, -1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realdata", type=Path, default=os.environ.get("CBIRKIT_REALDATA"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    folder, work, rows = Path(options.realdata), options.work, []
    work.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(folder / LEARN / "MANIFEST.csv")
    table = table[~table["source"].isin(SHARED)].sample(frac=1, random_state=0)
    houses = table[table["source"] == ONE_SOURCE][:N_CALIBRATION]
    general, houses = (ImageCollection.from_files([folder / LEARN / file for file in part["file"]]) for part in (table[:N_LEARN], houses))  # fmt: skip
    engines = engines_of(general, houses, work)
    learning = kept(work / "learning.npy", engines["float32"].transform, general)
    for name, (place, n) in SETS.items():
        table = pd.read_csv(folder / place / "labels.csv").groupby("class").head(n)
        images = ImageCollection.from_files([folder / place / file for file in table["file"]])
        labels = table["class"].to_numpy()
        vectors = {file: kept(work / f"{name}, {file}.npy", engine.transform, images) for file, engine in engines.items()}  # fmt: skip
        large = vectors["float32"]
        whole = of_query(large, large, labels)
        entries = [("files", file, engines[file].path.stat().st_size, X) for file, X in vectors.items()]  # fmt: skip
        entries += [("codes", *entry) for entry in codes_of(learning, large)]
        for part, what, size, X in entries:
            row = {"set": name, "classes": len(set(labels)), "images": len(labels), "part": part, "name": what, "bytes": size}  # fmt: skip
            row |= scored(of_query(X, X, labels), whole, labels)
            row["mixed"] = of_query(X, large, labels).mean() if part == "files" else np.nan
            rows.append(row | {"overlap": compress.neighbour_overlap(large, X).mean()})
    table = pd.DataFrame(rows)
    print(table.drop(columns=["classes", "images"]).round(3).to_string(index=False))
    write_bytes(DATA / "on_device.csv", table.to_csv(index=False, float_format="%.4f", lineterminator="\n").encode())  # fmt: skip
    print(f"{time.process_time():.0f} seconds of one core in this run")


if __name__ == "__main__":
    main()
