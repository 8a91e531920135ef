"""A folder of images that is searched in the browser: static files, which send nothing to anybody.

`write_site` writes them, ``cbirkit web`` from the shell. The network runs in the page, by onnxruntime-web; a service worker keeps
all files, so that the page works offline after its first visit, and can be installed on a phone.
"""

import hashlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from cbirkit._atomic import expanded, plain_errors, write_bytes
from cbirkit.compress import OnnxEncoder, to_onnx
from cbirkit.datasets.fetch.disk import data_root
from cbirkit.datasets.fetch.download import Download, DownloadFailed, get
from cbirkit.encoders.base import check_count, unit
from cbirkit.images.tables import text_of

VERSION = "1.30.0"  # of onnxruntime-web, MIT License
_FROM = "https://cdn.jsdelivr.net/npm/onnxruntime-web@{}/dist/{}"
RUNTIME = {  # file: megabytes, SHA-256
    "ort.wasm.min.mjs": (0.05, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    "ort-wasm-simd-threaded.mjs": (0.03, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    "ort-wasm-simd-threaded.wasm": (14.3, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}  # fmt: skip
_PAGE = ("index.html", "licences.html", "page.css", "page.js", "search.js")
_MARK = b"// Keeps every file of the site"  # how worker.js begins
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
    place = expanded(folder) if folder else data_root() / f"onnxruntime-web-{VERSION}"
    items = (Download(name, (_FROM.format(VERSION, name),), size, f"sha256:{digest}") for name, (size, digest) in RUNTIME.items())  # fmt: skip
    try:
        return {item.name: get(item, place, online=online and not folder, progress=False) for item in items}  # fmt: skip
    except DownloadFailed as error:
        package = f"npm pack onnxruntime-web@{VERSION}"
        raise DownloadFailed(f"{error}; or get the package ({package}), unpack it, and name its folder dist (--runtime dist)") from error  # fmt: skip


def place(out, photos=None):
    """The folder of a site, made if need be; a ValueError where a site would spoil something.

    Parameters
    ----------
    out : path-like
        New, empty, or an older site.
    photos : path-like, optional
        A folder that the site must not lie in: its pictures would be among the photographs next time.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError, OSError
        It holds something else, lies in `photos`, or cannot be made.
    """
    out = expanded(out)
    if photos and out.resolve().is_relative_to(expanded(photos).resolve()):
        raise ValueError(f"{out} lies in {photos}, so that its pictures would be searched too; choose a folder elsewhere")  # fmt: skip
    with plain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    worker = out / "worker.js"
    if others and not (worker.is_file() and worker.read_bytes().startswith(_MARK)):
        raise ValueError(f"{out} holds {others[0]}, which is of no site that cbirkit wrote; choose a new or an empty folder")  # fmt: skip
    return out


def write_site(retriever, out, *, title="Images", precision="float16", side=128, files=None):
    """Write a site that searches the images of a `Retriever` in the browser.

    Parameters
    ----------
    retriever : Retriever
        Fitted, of an encoder that `compress.to_onnx` can write, with its images.
    out : path-like
        A folder, as `place` takes it; an older site is replaced.
    title : str
    precision : {"float16", "int8", "float32"}
        Of the network in the page. "int8", calibrated on some images of the database, is smallest, and finds slightly other neighbours.
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
        The retriever is empty, its images are not there, its encoder cannot be written as ONNX, or `out` holds something else.
    OSError
        A file cannot be written.

    Notes
    -----
    Embeddings are those of the retriever, as whole numbers of 8 bits with one step for each image: their cosines change by less than
    0.002. A picture that is dropped into the page is embedded by the network there, of the pixels that Pillow would make of it. All
    is computed before the first file is written, and ``index.html`` is the last, so that half a site does not open.
    """
    check_count("side", side)
    if retriever.images is None or not len(retriever.ids):
        raise ValueError("a site needs a retriever with images, and at least one")
    out, files = place(out), runtime() if files is None else files
    some = np.linspace(0, len(retriever.ids) - 1, min(_CALIBRATION, len(retriever.ids))).astype(int)
    how = {"calibration": retriever.images[some]} if precision == "int8" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = to_onnx(retriever.encoder_, Path(folder, "encoder.onnx"), precision=precision, **how)
        step, made = OnnxEncoder(path).parts[1], {"encoder.onnx": path.read_bytes()}
    X = unit(np.asarray(retriever.embeddings, np.float32))
    steps = np.maximum(np.abs(X).max(axis=1, keepdims=True), 1e-12) / 127
    pictures = [_thumbnail(retriever.images, name, side) for name in tqdm(retriever.ids, "thumbnails", delay=1)]  # fmt: skip
    labels = retriever.table["label"] if "label" in retriever.table else [""] * len(X)
    about = {
        "title": title, "ids": [str(name) for name in retriever.ids], "labels": [text_of(label) for label in labels],
        "n_dims": X.shape[1], "steps": steps[:, 0].round(9).tolist(), "ends": np.cumsum([len(p) for p in pictures]).tolist(),
        "shape": step.shape, "resize": step.resize, "interpolation": step.interpolation, "crop_ratio": step.crop_ratio,
        "colour": [round(255 * value) for value in step.mean],
    }  # fmt: skip
    made |= {"embeddings.bin": np.rint(X / steps).astype(np.int8).tobytes(), "thumbnails.bin": b"".join(pictures)}  # fmt: skip
    made["about.json"] = json.dumps(about, allow_nan=False).encode()
    made |= {name: Path(path).read_bytes() for name, path in files.items()}
    made |= {name: Path(__file__).with_name(name).read_bytes() for name in _PAGE}
    made |= {"icon.png": _icon(pictures, 192), "large.png": _icon(pictures, 512)}
    manifest = {"id": "./", "start_url": "./", "name": title, "short_name": title[:12], "display": "standalone", "background_color": "#fff", "theme_color": "#0072b2"}  # fmt: skip
    manifest["icons"] = [{"src": name, "sizes": f"{n}x{n}", "type": "image/png"} for name, n in (("icon.png", 192), ("large.png", 512))]  # fmt: skip
    made["page.webmanifest"] = json.dumps(manifest).encode()
    worker = Path(__file__).with_name("worker.js").read_text(encoding="utf-8")
    version = hashlib.sha256(b"".join(made.values())).hexdigest()[:16]
    worker = worker.replace("FILES", json.dumps(["./", *sorted(made)])).replace("VERSION", version)
    page = made.pop("index.html")
    made = {"worker.js": worker.encode(), **made, "index.html": page}
    (out / "index.html").unlink(missing_ok=True)
    for name, data in made.items():
        write_bytes(out / name, data)
    return {name: len(data) for name, data in made.items()}


def _thumbnail(images, name, side):
    file = io.BytesIO()
    Image.fromarray(np.asarray(images.thumbnail(name, side))).save(file, "JPEG", quality=80)
    return file.getvalue()


def _icon(pictures, side):
    sheet, file, half = Image.new("RGB", (side, side), "white"), io.BytesIO(), side // 2
    for n in range(4):
        tile = Image.open(io.BytesIO(pictures[n * len(pictures) // 4]))
        sheet.paste(
            ImageOps.fit(tile, (half - 2, half - 2)), (n % 2 * (half + 2), n // 2 * (half + 2))
        )
    sheet.save(file, "PNG")
    return file.getvalue()
