"""A folder of images that is searched in the browser: static files, which send nothing to anybody.

`write_site` writes them. The network runs in the page, by onnxruntime-web; a service worker keeps all
files, so that the page works offline after its first visit, and can be installed on a phone.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from cbirkit._atomic import write_bytes
from cbirkit.compress import OnnxEncoder, to_onnx
from cbirkit.datasets.fetch.disk import data_root
from cbirkit.datasets.fetch.download import Download, get
from cbirkit.encoders.base import check_count, unit

VERSION = "1.30.0"  # of onnxruntime-web, MIT License
_FROM = "https://cdn.jsdelivr.net/npm/onnxruntime-web@{}/dist/{}"
RUNTIME = {  # file: megabytes, SHA-256
    "ort.wasm.min.mjs": (0.05, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    "ort-wasm-simd-threaded.mjs": (
        0.03,
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    ),
    "ort-wasm-simd-threaded.wasm": (
        14.3,
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}
_PAGE = ("index.html", "page.css", "page.js", "search.js")
_CALIBRATION = 256


def runtime(folder=None, *, online=True):
    """The files of onnxruntime-web, verified: those in `folder`, else of the cache, else downloaded once.

    Parameters
    ----------
    folder : path-like, optional
        Such as ``node_modules/onnxruntime-web/dist``.
    online : bool
        False: never connect.

    Returns
    -------
    dict of str to pathlib.Path

    Raises
    ------
    cbirkit.datasets.fetch.download.DownloadFailed
        A file is missing or another one; the message says where to get it.
    """
    place = Path(folder) if folder else data_root() / f"onnxruntime-web-{VERSION}"
    items = (Download(name, (_FROM.format(VERSION, name),), size, f"sha256:{digest}") for name, (size, digest) in RUNTIME.items())  # fmt: skip
    return {item.name: get(item, place, online=online and not folder, progress=False) for item in items}  # fmt: skip


def write_site(retriever, out, *, title="Images", precision="int8", side=128, files=None):
    """Write a site that searches the images of a `Retriever` in the browser.

    Parameters
    ----------
    retriever : Retriever
        Fitted, of an encoder that `compress.to_onnx` can write, with its images.
    out : path-like
        A folder, made if need be; files of an older site are replaced, others stay.
    title : str
    precision : {"int8", "float16", "float32"}
        Of the network in the page. "int8" is calibrated on some images of the database.
    side : int
        Longer side of a thumbnail in pixels.
    files : dict of str to path-like, optional
        As `runtime` gives them.

    Returns
    -------
    dict of str to int
        Bytes of each file written.

    Raises
    ------
    TypeError, ValueError
        The retriever is empty, its images are not there, or its encoder cannot be written as ONNX.
    OSError
        A file cannot be written.

    Notes
    -----
    Embeddings are those of the retriever, as whole numbers of 8 bits with one step for each image: their cosines change by less than
    0.002. A picture that is dropped into the page is embedded by the network there.
    """
    check_count("side", side)
    if retriever.images is None or not len(retriever.ids):
        raise ValueError("a site needs a retriever with images, and at least one")
    out, files = Path(out), runtime() if files is None else files
    some = np.linspace(0, len(retriever.ids) - 1, min(_CALIBRATION, len(retriever.ids))).astype(int)
    how = {"calibration": retriever.images[some]} if precision == "int8" else {}
    sizes = {"encoder.onnx": to_onnx(retriever.encoder_, out / "encoder.onnx", precision=precision, **how).stat().st_size}  # fmt: skip
    step = OnnxEncoder(out / "encoder.onnx").parts[1]
    X = unit(np.asarray(retriever.embeddings, np.float32))
    steps = np.maximum(np.abs(X).max(axis=1, keepdims=True), 1e-12) / 127
    pictures = [_thumbnail(retriever.images, name, side) for name in retriever.ids]
    labels = retriever.table["label"] if "label" in retriever.table else [""] * len(X)
    about = {
        "title": title, "ids": [str(name) for name in retriever.ids], "labels": [str(label) for label in labels],
        "n_dims": X.shape[1], "steps": steps[:, 0].round(9).tolist(), "ends": np.cumsum([len(p) for p in pictures]).tolist(),
        "shape": step.shape, "resize": step.resize, "interpolation": step.interpolation, "crop_ratio": step.crop_ratio,
        "colour": [round(255 * value) for value in step.mean],
    }  # fmt: skip
    made = {"embeddings.bin": np.rint(X / steps).astype(np.int8).tobytes(), "thumbnails.bin": b"".join(pictures)}  # fmt: skip
    made["about.json"] = json.dumps(about, allow_nan=False).encode()
    made |= {name: Path(path).read_bytes() for name, path in files.items()}
    made |= {name: Path(__file__).with_name(name).read_bytes() for name in _PAGE}
    made["icon.png"] = _icon(pictures)
    manifest = {"name": title, "short_name": title[:12], "start_url": ".", "display": "standalone"}
    manifest["icons"] = [{"src": "icon.png", "sizes": "192x192", "type": "image/png"}]
    made["page.webmanifest"] = json.dumps(manifest).encode()
    names = json.dumps(["./", *sorted(made), "encoder.onnx"])
    digest = hashlib.sha256(b"".join(made.values()) + (out / "encoder.onnx").read_bytes())
    worker = Path(__file__).with_name("worker.js").read_text(encoding="utf-8")
    made["worker.js"] = worker.replace("FILES", names).replace("VERSION", digest.hexdigest()[:16]).encode()  # fmt: skip
    for name in sorted(
        made, key="index.html".__eq__
    ):  # last, so that an unfinished site does not open
        write_bytes(out / name, made[name])
    return sizes | {name: len(data) for name, data in made.items()}


def _thumbnail(images, name, side):
    file = io.BytesIO()
    Image.fromarray(np.asarray(images.thumbnail(name, side))).save(file, "JPEG", quality=80)
    return file.getvalue()


def _icon(pictures):
    sheet, file = Image.new("RGB", (192, 192), "white"), io.BytesIO()
    for n, data in enumerate(pictures[:4]):
        tile = Image.open(io.BytesIO(data)).resize((94, 94))
        sheet.paste(tile, (98 * (n % 2), 98 * (n // 2)))
    sheet.save(file, "PNG")
    return file.getvalue()
