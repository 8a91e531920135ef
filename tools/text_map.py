"""Learn the map from image embeddings to those of sentences: `data/text_map.safetensors`, and `data/text_map.csv`, what it is worth.

    OMP_NUM_THREADS=1 python tools/text_map.py --realdata FOLDER      # two minutes of one core; or set CBIRKIT_REALDATA

Ridge regression from ``Deep("lite0")`` to the mean embedding of a photograph's captions, on 500 photographs of Flickr8k and 173 of COCO (their
captions: `data/text_captions.csv`), and to the embedding of "a photo of a NAME" on 446 photographs of as many ImageNet classes and on the 1,000 rows
of the network's own classifier, each of which stands for a photograph of its class. Every source is centred by itself. How strong the ridge is and how
long the rows are is chosen by cross-validation over the COCO photographs among these. The 105 captioned photographs of `m_coco131` are met at the end only.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import save
from timm.data import ImageNetInfo

from cbirkit import text
from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.encoders.base import unit
from cbirkit.nets import lite0_file
from cbirkit.nets.backbone import read_weights

DATA = Path(__file__).resolve().parent.parent / "data"
RIDGES, LENGTHS, RANKS = (1.0, 2.0, 4.0), (0.3, 0.5, 0.7), (1, 5, 10)
NAMES = 0.5  # weight of a photograph of an ImageNet class


def encoded(files):
    """Embeddings (n, 1280) of photographs."""
    images = (np.asarray(Image.open(file).convert("RGB")) for file in files)
    return Deep("lite0", device="cpu").transform(images)


def captioned(folder, captions):
    """Embeddings of photographs, one vector a caption, and the photograph (its row) of each caption."""
    files, rows = np.unique(captions["file"], return_inverse=True)
    return encoded([folder / file for file in files]), text.encode_sentences(captions["caption"]), rows  # fmt: skip


def means(vectors, rows):
    """Mean vector of the captions of each photograph."""
    return pd.DataFrame(vectors).groupby(rows).mean().to_numpy()


def called(names):
    """Embeddings of the names of classes."""
    return text.encode_sentences([f"a photo of a {name.replace('_', ' ')}" for name in names])


def read(folder):
    """Training sources as (X, captions, rows) or (X, names' embeddings), and the test set."""
    captions = pd.read_csv(DATA / "text_captions.csv")
    manifest = pd.read_csv(folder / "j_photos_wide" / "MANIFEST.csv")
    manifest = manifest[manifest["source"] == "coco"]
    places = dict(zip(manifest["source_path"].str.split("/").str[-1], manifest["file"], strict=True))  # fmt: skip
    test = pd.read_csv(folder / "m_coco131" / "captions.csv")
    assert not set(captions["file"]) & set(test["file"].str.split("/").str[-1]), "a test photograph among those to learn from"  # fmt: skip
    captions["file"] = captions["file"].map(places)
    flickr = pd.read_csv(folder / "e_captions_flickr8k_500" / "captions.csv")
    shown = folder / "a_imagenet_superclass10"
    labels = pd.read_csv(shown / "labels.csv")
    rows = read_weights(lite0_file())["_fc.weight"].numpy()
    info = ImageNetInfo("imagenet-1k")
    classes = [info.index_to_description(i).split(",")[0] for i in range(len(rows))]
    return {
        "flickr": captioned(folder / "e_captions_flickr8k_500", flickr),
        "coco": captioned(folder / "j_photos_wide", captions),
        "named": (encoded(shown / file for file in labels["file"]), called(labels["name"])),
        "classes": (unit(rows - rows.mean(axis=0)), called(classes)),
        "test": captioned(folder / "m_coco131", test),
    }


def ridge(parts, strength):
    """The map (1280, 384) of sources (X, T, weight), each centred by itself."""
    left, right = strength * np.eye(parts[0][0].shape[1]), 0
    for X, T, weight in parts:
        X, T = X - X.mean(axis=0), T - T.mean(axis=0)
        left, right = left + weight * X.T @ X, right + weight * X.T @ T
    return np.linalg.solve(left, right)


def ranks(queries, items, own):
    """How many items are nearer to each query than its own, whose row is `own`."""
    scores = unit(queries) @ unit(items).T
    return (scores > scores[np.arange(len(own)), own][:, None]).sum(axis=1)


def quality(parts, coco, strength, repeats=3, folds=5):
    """Mean reciprocal rank, text to image, of COCO photographs left out in turn, among those left out with them."""
    (X, vectors, rows), found = coco, []
    for repeat in range(repeats):
        fold = np.random.default_rng(repeat).permutation(len(X)) % folds
        for number in range(folds):
            kept, out = fold != number, fold[rows] == number
            T = means(vectors, rows)[kept]
            mapped = (X[~kept] - X[kept].mean(axis=0)) @ ridge([*parts, (X[kept], T, 1)], strength)
            own = (np.cumsum(~kept) - 1)[rows[out]]
            found += list(1 / (1 + ranks(vectors[out] - T.mean(axis=0), mapped, own)))
    return np.mean(found)


def scores(name, parts, strength, means_, test, learned=None):
    """Recall at each rank in both directions, with 95 % intervals over photographs; one row each."""
    X, vectors, rows = test
    weight = ridge(parts, strength) if learned is None else learned
    mapped, words = unit((X - means_[0]) @ weight), unit(vectors - means_[1])
    forth = pd.Series(ranks(words, mapped, rows))
    best = [min(np.argsort(np.argsort(-one))[rows == n]) for n, one in enumerate(mapped @ words.T)]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(X), (2000, len(X)))
    for direction, place in (("text to image", forth), ("image to text", pd.Series(best))):
        for k in RANKS:
            of_photo = (place < k).groupby(rows).mean() if direction[0] == "t" else place < k
            low, high = np.quantile(of_photo.to_numpy()[drawn].mean(axis=1), (0.025, 0.975))
            values = [f"{100 * v:.1f}" for v in (of_photo.mean(), low, high)]
            yield [name, direction, k, *values, len(X), len(rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realdata", default=os.environ.get("CBIRKIT_REALDATA"), required="CBIRKIT_REALDATA" not in os.environ)  # fmt: skip
    found = read(Path(parser.parse_args().realdata))
    flickr, coco = ((X, means(V, rows), 1) for X, V, rows in (found["flickr"], found["coco"]))
    named, rows = (*found["named"], NAMES), found["classes"]
    tried = {(s, n): quality([flickr, named, (n * rows[0], rows[1], 1)], found["coco"], s) for s in RIDGES for n in LENGTHS}  # fmt: skip
    for setting, value in tried.items():
        print("ridge {}, rows of length {}: mean reciprocal rank {:.4f}".format(*setting, value))
    strength, length = max(tried, key=tried.get)
    classes = (length * rows[0], rows[1], 1)
    both = [np.concatenate([flickr[i], coco[i]]).mean(axis=0) for i in (0, 1)]
    shuffled = [(X, np.random.default_rng(0).permutation(T), w) for X, T, w in (flickr, coco, named, classes)]  # fmt: skip
    table, test = [], found["test"]
    ways = {
        "Flickr8k": [flickr],
        "COCO": [coco],
        "Flickr8k and COCO": [flickr, coco],
        "classifier rows and names": [classes],
        "ImageNet photographs and names": [named],
        "Flickr8k, COCO and class names": [flickr, coco, named, classes],
        "all, captions shuffled": shuffled,
    }
    for name, parts in ways.items():
        table += scores(name, parts, strength, both, test)
    columns = ["learned from", "direction", "k", "recall", "low", "high", "photographs", "captions"]
    table = pd.DataFrame(table, columns=columns)
    print(table.to_string())
    table.to_csv(DATA / "text_map.csv", index=False)
    weight = ridge([flickr, coco, named, classes], strength).astype(np.float16)
    arrays = {"weight": weight, "image_mean": both[0].astype(np.float32), "text_mean": both[1].astype(np.float32)}  # fmt: skip
    # one entry: of several, the order is left to chance
    about = {"made with": f"ridge {strength}, rows of length {length}, {text.MINILM_SHA256}"}
    write_bytes(DATA / "text_map.safetensors", save(arrays, about))


if __name__ == "__main__":
    main()
