"""Small archives with the layout of the real ones, and a way to serve them in place of the real addresses."""

import io
import struct
from dataclasses import replace

import numpy as np
import scipy.io
from fetch_server import jpeg, make_tar, make_zip, md5
from PIL import Image

from cbirkit.datasets.fetch import registry


def serve(monkeypatch, server, name, bodies, n_images):
    """Put a copy of a `DataSet` into the list whose files come from the local server: `bodies` by file name."""
    data_set = registry.DATA_SETS[name]
    downloads = []
    for item in data_set.downloads:
        body = bodies[item.name]
        urls = tuple(server.add(f"{i}/{item.name}", body) for i in range(len(item.urls)))
        checksum = None if item.checksum is None else md5(body)
        downloads.append(replace(item, urls=urls, checksum=checksum, megabytes=0.1))
    small = replace(data_set, downloads=tuple(downloads), n_images=n_images, unpacked_megabytes=0.1)
    monkeypatch.setitem(registry.DATA_SETS, name, small)


# ---------------------------------------------------------------------- CIFAR-10, STL-10


def python2_pickle(value):
    """A pickle as Python 2 with an old numpy wrote it: what the batches of CIFAR-10 are."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value):
    if isinstance(value, np.ndarray):
        shape = b"".join(_python2(side) for side in value.shape) + b"\x86"
        kind = b"cnumpy\ndtype\n" + _python2("u1") + b"K\x00K\x01\x87R"
        kind += b"(K\x03U\x01|NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return made + b"(K\x01" + shape + kind + b"\x89" + _python2(value.tobytes()) + b"tb"
    if isinstance(value, dict):
        return (
            b"}(" + b"".join(_python2(key) + _python2(item) for key, item in value.items()) + b"u"
        )
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    data = value.encode() if isinstance(value, str) else value
    return b"T" + struct.pack("<i", len(data)) + data


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar10(n_a_batch=40):
    """(archive, inner files, pixels (n, 32, 32, 3), labels): five training batches and a test batch of two
    classes."""
    rng = np.random.default_rng(0)
    inner, pixels, labels = {}, [], []
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (n_a_batch, 3072), dtype=np.uint8)
        codes = [i % 2 for i in range(n_a_batch)]
        entries = {
            "batch_label": name,
            "labels": codes,
            "data": data,
            "filenames": [f"{i}.png" for i in range(n_a_batch)],
        }
        inner[name] = python2_pickle(entries)
        pixels.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels += codes
    inner["batches.meta"] = python2_pickle(
        {"num_cases_per_batch": n_a_batch, "label_names": CLASSES, "num_vis": 3072}
    )
    inner["readme.html"] = b"<html></html>"
    archive = make_tar({f"cifar-10-batches-py/{name}": data for name, data in inner.items()})
    return archive, inner, np.concatenate(pixels), labels


def stl10():
    """(archive, inner files)."""
    rng = np.random.default_rng(0)
    counts = {"train": 6, "test": 4, "unlabeled": 3}
    inner = {
        f"{part}_X.bin": rng.integers(0, 256, 27_648 * n, dtype=np.uint8).tobytes()
        for part, n in counts.items()
    }
    inner |= {
        f"{part}_y.bin": rng.integers(1, 11, counts[part], dtype=np.uint8).tobytes()
        for part in ("train", "test")
    }
    inner["class_names.txt"] = "\n".join(CLASSES).encode() + b"\n"
    inner["fold_indices.txt"] = b"0 1 2\n"
    return make_tar({f"stl10_binary/{name}": data for name, data in inner.items()}), inner


# ---------------------------------------------------------------------- photographs in folders


def pets():
    """{file: body}: 3 breeds, one image of each in either part, and the litter of the real archives."""
    images, lists = {}, {"trainval": [], "test": []}
    rows = [("Abyssinian_1", 1, 1, "trainval"), ("american_bulldog_10", 2, 2, "trainval"), ("yorkshire_terrier_3", 3, 2, "trainval"),
            ("Abyssinian_2", 1, 1, "test"), ("yorkshire_terrier_9", 3, 2, "test"), ("american_bulldog_7", 2, 2, "test")]  # fmt: skip
    annotations = {"annotations/README": b"read me"}
    for seed, (name, label, species, part) in enumerate(rows):
        images[f"images/{name}.jpg"] = jpeg(seed)
        lists[part].append(f"{name} {label} {species} {seed + 1}")
        mask = io.BytesIO()
        Image.fromarray(np.full((18, 24), 1 + seed % 3, np.uint8)).save(mask, "PNG")
        annotations[f"annotations/trimaps/{name}.png"] = mask.getvalue()
        annotations[f"annotations/trimaps/._{name}.png"] = b"litter"
    images["images/Abyssinian_100.mat"] = b"a table that is no image"
    for part, lines in lists.items():
        annotations[f"annotations/{part}.txt"] = "\n".join(lines).encode() + b"\n"
    return {"images.tar.gz": make_tar(images), "annotations.tar.gz": make_tar(annotations)}


def flowers(n_images=9):
    def mat(**arrays):
        buffer = io.BytesIO()
        scipy.io.savemat(
            buffer, {name: np.array([values], dtype=np.uint16) for name, values in arrays.items()}
        )
        return buffer.getvalue()

    return {
        "102flowers.tgz": make_tar(
            {f"jpg/image_{i:05d}.jpg": jpeg(i) for i in range(1, n_images + 1)}
        ),
        "imagelabels.mat": mat(labels=[1, 1, 2, 2, 3, 3, 102, 102, 102]),
        "setid.mat": mat(trnid=[1, 3], valid=[2, 4], tstid=[5, 6, 7, 8, 9]),
    }


def caltech(sizes=None):
    """{file: body}: a zip file with a tar file of images in it."""
    sizes = (
        {"accordion": 55, "inline_skate": 31, "wrench": 80, "BACKGROUND_Google": 4}
        if sizes is None
        else sizes
    )
    inner = {
        f"101_ObjectCategories/{c}/image_{i:04d}.jpg": jpeg(i, (6, 6))
        for c, n in sizes.items()
        for i in range(1, n + 1)
    }
    inner["101_ObjectCategories/BACKGROUND_Google/tmp"] = b"litter"
    files = {
        "caltech-101/101_ObjectCategories.tar.gz": make_tar(inner),
        "caltech-101/Annotations.tar": make_tar(
            {"Annotations/accordion/annotation_0001.mat": b"x"}, "w"
        ),
        "caltech-101/show_annotation.m": b"% code",
        "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"litter",
        "caltech-101/._101_ObjectCategories.tar.gz": b"litter",
    }
    return {"caltech-101.zip": make_zip(files)}


def eurosat(sizes=None):
    sizes = {"AnnualCrop": 10, "Forest": 6, "SeaLake": 5} if sizes is None else sizes
    files = {
        f"2750/{c}/{c}_{i}.jpg": jpeg(i, (8, 8)) for c, n in sizes.items() for i in range(1, n + 1)
    }
    return {"EuroSAT.zip": make_zip({**files, "2750/.DS_Store": b"litter"})}


# ---------------------------------------------------------------------- retrieval benchmarks


def ukbench(n_images=8, orientation=None):
    files = {f"full/ukbench{i:05d}.jpg": jpeg(i, (64, 48), orientation) for i in range(n_images)}
    files |= {f"thumbnails/ukbench{i:05d}.th.jpg": jpeg(i) for i in range(n_images)}
    return {
        "ukbench.zip": make_zip(
            {
                **files,
                "index.html": b"<html></html>",
                "find_duplicates.sh": b"#!/bin/sh\nrm -rf /\n",
            }
        )
    }


HOLIDAYS = (100000, 100001, 100100, 100101, 100102, 100200, 100201)


def holidays(orientation=None):
    """{file: body}: three scenes over two archives."""
    images = {f"jpg/{number}.jpg": jpeg(number, (64, 48), orientation) for number in HOLIDAYS}
    names = list(images)
    return {
        f"jpg{i + 1}.tar.gz": make_tar({name: images[name] for name in part})
        for i, part in enumerate((names[:3], names[3:]))
    }


TURNS = b'{\n"100000.jpg": 90,\n"100101.jpg": 270,\n"100102.jpg": 180,\n}'


def cub200():
    """{file: body}: 4 species, of which the first 2 are to learn from."""
    names = [
        "001.Black_footed_Albatross",
        "002.Laysan_Albatross",
        "003.Sooty_Albatross",
        "004.Groove_billed_Ani",
    ]
    files = {
        "CUB_200_2011/README": b"read me",
        "CUB_200_2011/attributes/attributes.txt": b"1 x",
        "attributes.txt": b"1 x",
    }
    tables = {
        name: []
        for name in (
            "images",
            "image_class_labels",
            "classes",
            "train_test_split",
            "bounding_boxes",
        )
    }
    number = 0
    for code, name in enumerate(names, 1):
        tables["classes"].append(f"{code} {name}")
        for i in range(3):
            number += 1
            path = f"{name}/{name[4:]}_{i:04d}_{700 + number}.jpg"
            files[f"CUB_200_2011/images/{path}"] = jpeg(number)
            tables["images"].append(f"{number} {path}")
            tables["image_class_labels"].append(f"{number} {code}")
            tables["train_test_split"].append(f"{number} {int(i == 0)}")
            tables["bounding_boxes"].append(f"{number} 1.0 2.0 10.0 {number}.0")
    files |= {
        f"CUB_200_2011/{name}.txt": "\n".join(lines).encode() + b"\n"
        for name, lines in tables.items()
    }
    return {"CUB_200_2011.tgz": make_tar(files)}


def sop():
    """{file: body}: three products to learn from, two to test on."""
    rows = {
        "train": [
            (1, 1, "bicycle"),
            (2, 1, "bicycle"),
            (3, 2, "bicycle"),
            (4, 2, "bicycle"),
            (5, 3, "chair"),
            (6, 3, "chair"),
        ],
        "test": [
            (7, 11319, "chair"),
            (8, 11319, "chair"),
            (9, 11320, "coffee_maker"),
            (10, 11320, "coffee_maker"),
            (11, 11320, "coffee_maker"),
        ],
    }
    files = {"Stanford_Online_Products/Info.txt": b"x"}
    for part, entries in rows.items():
        lines = ["image_id class_id super_class_id path"]
        for number, product, kind in entries:
            path = f"{kind}_final/1110850{product}_{number}.JPG"
            files[f"Stanford_Online_Products/{path}"] = jpeg(number)
            lines.append(f"{number} {product} 1 {path}")
        files[f"Stanford_Online_Products/Ebay_{part}.txt"] = "\n".join(lines).encode() + b"\n"
    return {"Stanford_Online_Products.zip": make_zip({**files, "__MACOSX/._x": b"litter"})}
