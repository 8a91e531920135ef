"""Encode real photographs and write what ships of them: `data/real_features/SET.safetensors` and `SET.json`.

    python tools/real_features.py --realdata FOLDER            # all sets; or set CBIRKIT_REALDATA
    python tools/real_features.py --only clothing satellite    # these sets

FOLDER holds the folders named in `SETS` below, each with the `labels.csv` described in `data/README.md`. To be run again whenever
`data/tiny.safetensors` changes (a test says so). The SHA-256 sums in `data/README.md` are brought up to date as well.
"""

import argparse
import hashlib
import json
import os
import re
import time
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from safetensors.numpy import save
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from cbirkit import ImageCollection, encoders
from cbirkit._atomic import write_bytes
from cbirkit.datasets.real_features import SHIPPED, quantise
from cbirkit.nets.tiny import tiny_identity

README = SHIPPED.parent / "README.md"
SETS = {  # name: (folder, columns of the result and the columns of labels.csv they come from)
    "clothing": ("a_category_clothing10", {"label": "class"}),
    "imagenet": ("a_imagenet_superclass10", {"label": "superclass", "name": "name"}),
    "pacs": ("c_crossdomain_pacs", {"label": "class", "domain": "domain"}),
    "satellite": ("f_satellite_rsscn7", {"label": "class"}),
    "omniglot": ("f_handwriting_omniglot_A", {"label": "character"}),
}
LAYERS = ("stem", "blocks.2", "blocks.5", "blocks.9", "blocks.12")
# Folder and number of the photographs that the VLAD codebook and its PCA are learned on.
CODEBOOK = ("i_unlabelled_photos", 400)


def encoders_of(name):
    """Lists of encoders by name, one list a file."""
    main = {
        "tiny": encoders.Deep("tiny"),
        "random": encoders.Deep("tiny", weights=None),
        "colour": encoders.ColorHistogram(),
        "HOG": encoders.HOG(size=64, cell=16),
    }
    if name in ("pacs", "satellite"):
        main["VLAD"] = make_pipeline(encoders.VLAD(), PCA(128, random_state=0))
    if name != "clothing":
        return [main]
    more = {f"tiny {pooling}": encoders.Deep("tiny", pooling=pooling) for pooling in ("max", "gem")}
    more |= {f"tiny {layer}": encoders.Deep("tiny", layer=layer) for layer in LAYERS}
    return [main, more]


def read_set(folder, name):
    """The images of one set, read into memory, with the table that ships."""
    source, columns = SETS[name]
    labels = pd.read_csv(folder / source / "labels.csv")
    if name == "omniglot":
        labels = labels[labels["alphabet"] == "Korean"]
    table = pd.DataFrame({ours: labels[theirs].to_numpy(dtype=object) for ours, theirs in columns.items()})
    if "domain" in table:
        table["domain"] = table["domain"].replace("art_painting", "art")
    table["file"] = labels["file"].to_numpy(dtype=object)
    ids = [str(PurePosixPath(file).with_suffix("")) for file in table["file"]]
    files = ImageCollection.from_files([folder / source / file for file in table["file"]])
    return ImageCollection.from_arrays(list(files), table=table, ids=ids, name=name)


def fitted(encoder, folder):
    """The encoder, fitted on photographs of no set if it learns."""
    if not hasattr(encoder, "steps"):
        return encoder
    source, count = CODEBOOK
    others = ImageCollection.from_folder(folder / source, labels=None)
    return encoder.fit(others[:: max(1, len(others) // count)])


def recipe_of(encoder):
    """The encoder as Python, in one line."""
    text = re.sub(r"\s+", " ", repr(encoder))
    return text.replace("backbone='tiny'", "'tiny'")


def write_set(folder, name, out):
    """Encode one set and write its files; returns the paths."""
    images = read_set(folder, name)
    recipes, weights, files = {}, {}, []
    for number, group in enumerate(encoders_of(name)):
        arrays = {}
        for label, encoder in group.items():
            start = time.process_time()
            dtype = np.uint16 if getattr(encoder, "layer", None) else np.uint8
            X = fitted(encoder, folder).transform(images)
            if label == "random":  # these hardly differ from one another: eight bits of the whole would keep nothing of that
                arrays["random/centre"] = X.mean(axis=0)
                X = X - arrays["random/centre"]
            codes, scale = quantise(X, dtype)
            arrays |= {f"{label}/codes": codes, f"{label}/scale": scale}
            recipes[label] = recipe_of(encoder)
            if isinstance(encoder, encoders.Deep) and encoder.weights == "default":
                weights[label] = tiny_identity()
            print(f"{name}: {label} {codes.shape}, {time.process_time() - start:.0f} s of CPU time", flush=True)
        files.append(f"{name}{'_more' if number else ''}.safetensors")
        write_bytes(out / files[-1], save(arrays))
    told = {
        "name": name, "source": SETS[name][0], "files": files, "recipes": recipes, "weights": weights,
        "columns": {c: list(images.table[c]) for c in images.table},
    }  # fmt: skip
    write_bytes(out / f"{name}.json", (json.dumps(told, indent=None, separators=(",", ":")) + "\n").encode())
    return [out / f"{name}.json", *(out / file for file in files)]


def write_sums(paths, readme=README):
    """Put the SHA-256 of each file into its row of the table in `data/README.md`; returns the names without a row."""
    text, missing = readme.read_text(encoding="utf-8"), []
    for path in paths:
        digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
        row = re.compile(rf"^(\| `real_features/{re.escape(path.name)}` \|)[^|]*\|[^|]*\|$", re.MULTILINE)
        text, n = row.subn(rf"\g<1> {size:,} | `{digest}` |", text)
        missing += [] if n else [path.name]
    write_bytes(readme, text.encode())
    return missing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--realdata", type=Path, default=os.environ.get("CBIRKIT_REALDATA"), help="folder of all sets")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    args = parser.parse_args()
    if args.realdata is None or not Path(args.realdata).is_dir():
        parser.error(f"--realdata (or CBIRKIT_REALDATA) must be a folder, got {args.realdata}")
    paths = [path for name in args.only for path in write_set(Path(args.realdata), name, args.out)]
    if args.out == SHIPPED:
        for name in write_sums(paths):
            print(f"data/README.md has no row for real_features/{name}")


if __name__ == "__main__":
    main()
