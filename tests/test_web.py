"""The site that searches in the browser: its files, the command that writes it, and, where onnxruntime-web is, the page itself in a
real browser. CBIRKIT_ORT_WEB names the folder dist of that package (npm pack onnxruntime-web@VERSION)."""

import contextlib
import functools
import http.server
import io
import itertools
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import PIL
import pytest
from browser import Browser, require_browser
from cli_samples import failed, photos, runner
from PIL import Image

from cbirkit import Retriever, compress, datasets, web
from cbirkit.compress import OnnxEncoder, to_onnx
from cbirkit.datasets.fetch.download import DownloadFailed
from cbirkit.encoders import Deep, TinyImage
from cbirkit.images import read_image
from cbirkit.nets.preprocessing import Preprocessing

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
ORT = os.environ.get("CBIRKIT_ORT_WEB")  # a folder such as node_modules/onnxruntime-web/dist
folder = pytest.fixture(photos)
run = pytest.fixture(runner)
CLASSES = ("mug", "teapot", "chair", "globe", "duck", "rocket")


def pictures(*views):
    world = datasets.load_tabletop()
    world = world[np.isin(world.labels, CLASSES) & np.isin(world.column("view"), views)]
    return datasets.close_ups(world, 96)


@pytest.fixture(scope="module", autouse=True)
def exported_once():
    """Each encoder is written as ONNX once, which takes seconds, and taken again where the command would do it anew."""
    real, made = compress._exported, {}
    patch = pytest.MonkeyPatch()

    def exported(encoder, step):
        key = repr(encoder)
        made[key] = made.get(key) or real(encoder, step).SerializeToString()
        return onnx.load_model_from_string(made[key])

    patch.setattr(compress, "_exported", exported)
    yield made
    patch.undo()


@pytest.fixture(scope="module")
def retriever(tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    encoder = OnnxEncoder(to_onnx(Deep("tiny"), file))  # as the command calls it
    return Retriever(encoder, progress=False).fit(pictures(0, 2))


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Files of the runtime's names, with nothing in them."""
    folder = tmp_path_factory.mktemp("ort")
    for name in web.RUNTIME:
        (folder / name).write_bytes(name.encode())
    return {name: folder / name for name in web.RUNTIME}


@pytest.fixture
def offline(monkeypatch, stand_in):
    """The command takes the stand-in for the runtime."""
    monkeypatch.setattr(web, "runtime", lambda folder=None: stand_in)


@pytest.fixture(scope="module")
def site(retriever, stand_in, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    sizes = web.write_site(retriever, folder, title="<b>Things</b>", files=stand_in)
    return folder, sizes


def test_every_file_is_told_and_kept_for_offline_use(site):
    folder, sizes = site
    assert sizes == {path.name: path.stat().st_size for path in folder.iterdir()}
    worker = (folder / "worker.js").read_text()
    assert worker.encode().startswith(web._MARK)
    names = json.loads(re.search(r"files = (\[.*?\])", worker).group(1))
    assert set(names) == {"./", *sizes} - {"worker.js"} and "VERSION" not in worker


def test_embeddings_in_8_bits_hardly_turn(site, retriever):
    folder, _ = site
    about = json.loads((folder / "about.json").read_text())
    codes = np.fromfile(folder / "embeddings.bin", np.int8).reshape(-1, about["n_dims"])
    X = codes * np.array(about["steps"])[:, None]
    truth = retriever.embeddings / np.linalg.norm(retriever.embeddings, axis=1, keepdims=True)
    assert (X * truth).sum(axis=1).min() > 0.998 and about["ids"] == list(retriever.ids)
    assert about["labels"] == list(retriever.table["label"]) and about["title"] == "<b>Things</b>"


def test_thumbnails_lie_one_after_the_other(site, retriever):
    folder, _ = site
    about, data = json.loads((folder / "about.json").read_text()), (folder / "thumbnails.bin").read_bytes()  # fmt: skip
    starts = [0, *about["ends"][:-1]]
    for row in (0, 5, len(starts) - 1):
        shown = Image.open(io.BytesIO(data[starts[row] : about["ends"][row]]))
        wanted = Image.fromarray(retriever.images[row]).resize(shown.size)
        assert max(shown.size) <= 128
        assert np.abs(np.asarray(shown, float) - np.asarray(wanted, float)).mean() < 12
    assert about["ends"][-1] == len(data)


def test_the_page_asks_nobody_else():
    for path in Path(web.__file__).parent.glob("*.*s*"):
        assert path.suffix == ".py" or "//" not in re.sub(r"(?m)//.*$|<!doctype.*", "", path.read_text())  # fmt: skip
    page = (Path(web.__file__).parent / "index.html").read_text()
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_another_site_has_another_version(site, retriever, stand_in, tmp_path):
    folder, _ = site
    web.write_site(retriever, tmp_path, title="Others", files=stand_in)
    assert (folder / "worker.js").read_text() != (tmp_path / "worker.js").read_text()


def test_what_cannot_be_a_site_is_said(retriever, stand_in, tmp_path):
    with pytest.raises(TypeError, match="Deep"):
        web.write_site(Retriever(TinyImage(), progress=False).fit(pictures(0)), tmp_path, files=stand_in)  # fmt: skip
    with pytest.raises(ValueError, match="side"):
        web.write_site(retriever, tmp_path, side=0, files=stand_in)
    bare = Retriever(Deep("tiny", device="cpu"), progress=False)
    with pytest.raises(Exception, match="fit"):
        web.write_site(bare, tmp_path, files=stand_in)
    assert not list(tmp_path.iterdir())


def test_the_runtime_is_known_by_its_sums(stand_in, tmp_path):
    with pytest.raises(DownloadFailed, match=r"not the file that is expected"):
        web.runtime(next(iter(stand_in.values())).parent)
    with pytest.raises(DownloadFailed, match=r"onnxruntime-web@.*mjs.*npm pack .*--runtime"):
        web.runtime(tmp_path)


# ---------------------------------------------------------------------- where a site may lie


def test_a_site_spoils_nothing(retriever, stand_in, tmp_path):
    (tmp_path / "mine").mkdir()
    page = tmp_path / "mine" / "index.html"
    page.write_text("mine")
    for write in (web.place, lambda out: web.write_site(retriever, out, files=stand_in)):
        with pytest.raises(ValueError, match=r"holds index.html.* a new or an empty folder"):
            write(tmp_path / "mine")
    assert page.read_text() == "mine" and len(list(page.parent.iterdir())) == 1
    with pytest.raises(OSError, match="cannot write"):
        web.place(page)
    for inside in (tmp_path, tmp_path / "deep" / "site"):
        with pytest.raises(ValueError, match="choose a folder elsewhere"):
            web.place(inside, tmp_path)
    assert web.place(tmp_path / "a" / "b", tmp_path / "mine").is_dir()


def test_a_run_that_was_killed_leaves_no_half_site_that_opens(
    site, retriever, stand_in, tmp_path, monkeypatch
):
    write, written = web.write_bytes, []

    def killed(path, data):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, data)

    web.write_site(retriever, tmp_path, files=stand_in)
    monkeypatch.setattr(web, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        web.write_site(retriever, tmp_path, title="Anew", files=stand_in)
    assert written[0] == "worker.js" and not (tmp_path / "index.html").exists()
    monkeypatch.setattr(web, "write_bytes", write)
    sizes = web.write_site(retriever, tmp_path, title="Anew", files=stand_in)
    assert sizes == {path.name: path.stat().st_size for path in tmp_path.iterdir()}


def test_the_app_has_icons_of_the_sizes_that_it_names(site):
    folder, _ = site
    manifest = json.loads((folder / "page.webmanifest").read_text())
    assert manifest["start_url"] == "./" and manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        assert "x".join(map(str, Image.open(folder / icon["src"]).size)) == icon["sizes"]
    assert {"192x192", "512x512"} == {icon["sizes"] for icon in manifest["icons"]}


def test_thumbnails_hold_no_metadata(stand_in, retriever, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    for n, image in enumerate(list(pictures(0))[:3]):
        Image.fromarray(image).save(tmp_path / f"{n}.jpg", exif=exif)
    images = datasets.from_folder(tmp_path)
    few = Retriever(retriever.encoder_, progress=False).fit(images)
    web.write_site(few, tmp_path / "site", files=stand_in)
    assert not any(b"where I live" in path.read_bytes() for path in (tmp_path / "site").iterdir())


# ---------------------------------------------------------------------- the command


def test_the_command_writes_a_site_and_resumes(folder, run, offline, tmp_path):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    out = tmp_path / "a site"
    code, said, told = run("web", folder, "--out", out, "--encoder", "tiny")
    assert code == 0 and said == f"{out}\n" and "6 images" in told and "broken.jpg" in told
    about = json.loads((out / "about.json").read_text())
    assert about["title"] == "photos" and about["labels"] == ["cat"] * 3 + ["dog"] * 3
    again = run("web", folder, "--out", out, "--precision", "int8", "--quiet")
    assert again[0] == 0 and again[1] == f"{out}\n" and "photos" not in again[2]
    assert (out / "encoder.onnx").stat().st_size > 0 and (folder / ".cbirkit").is_dir()


def test_the_index_can_lie_elsewhere(folder, run, offline, tmp_path):
    out, kept = tmp_path / "site", tmp_path / "kept"
    assert run("web", folder, "--out", out, "--store", kept, "--encoder", "tiny")[0] == 0
    assert (kept / "retriever").exists() and not (folder / ".cbirkit").exists()


def test_what_the_command_cannot_do_is_one_sentence_before_the_work(folder, run, tmp_path):
    site = tmp_path / "site"
    failed(run("web", folder, "--out", site, "--encoder", "color"), "does not run in a browser; --encoder lite0")  # fmt: skip
    failed(run("web", folder, "--out", folder / "site"), "choose a folder elsewhere")
    failed(run("web", folder, "--out", tmp_path), "holds .* choose a new or an empty folder")
    failed(run("web", tmp_path / "no", "--out", site), "no such folder")
    failed(run("web", folder, "--out", site, "--runtime", tmp_path / "no", "--encoder", "tiny"), "npm pack onnxruntime-web")  # fmt: skip
    assert run("web", folder)[0] == 2 and not (folder / ".cbirkit").exists()


# ---------------------------------------------------------------------- in a real browser


DROP = """([bytes]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([Uint8Array.from(bytes)], "turned.jpg"));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""
CAMERA = """() => {
    const canvas = document.createElement("canvas");
    setInterval(() => canvas.getContext("2d").fillRect(Math.random() * 100, 0, 9, 9), 50);
    navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}  # fmt: skip

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """The address of a folder on this machine, and how to end that."""
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def end():
        server.shutdown()
        server.server_close()

    try:
        yield f"http://127.0.0.1:{server.server_port}/", end
    finally:
        end()


def test_a_picture_is_resized_as_pillow_does_it(site):
    require_browser()
    coarse = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    script = """async ([pixels, height, width, hows]) => {
        const { resized } = await import("./search.js");
        return hows.map((how) => Array.from(resized(Uint8ClampedArray.from(pixels), height, width, how)));
    }"""
    kinds = itertools.product(("squash", "crop", "pad"), ("bilinear", "bicubic", "area"))
    steps = [Preprocessing((32, 48), resize=how, interpolation=kind) for how, kind in kinds]
    names = ("shape", "resize", "interpolation", "crop_ratio")
    colour = {"colour": [round(255 * value) for value in steps[0].mean]}
    hows = [{name: getattr(step, name) for name in names} | colour for step in steps]
    # an older Pillow goes the other way first here and there, which shows in the last bit
    most = 0 if int(PIL.__version__.split(".")[0]) >= 13 else 1
    with served(site[0]) as (address, _), Browser() as browser:
        page = browser.bare_page()
        page.goto(address)
        # wider, higher, much higher, smaller and larger than the result; of the last one side stays
        for size in ((90, 60), (60, 90), (50, 170), (20, 30), (90, 32)):
            picture = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
            rgba = np.dstack([picture, np.full(size[::-1], 255, np.uint8)])
            found = page.evaluate(script, [rgba.ravel().tolist(), size[1], size[0], hows])
            for step, pixels in zip(steps, found, strict=True):
                change = np.reshape(pixels, (32, 48, 3)) - step.resized(picture).astype(int)
                assert np.abs(change).max() <= most, (size, step)


def test_the_page_finds_what_python_finds_and_works_offline(retriever, tmp_path):
    require_browser()
    if not ORT and os.environ.get("CBIRKIT_REQUIRE_BROWSER") == "1":
        pytest.fail("CBIRKIT_REQUIRE_BROWSER=1, but CBIRKIT_ORT_WEB names no folder of onnxruntime-web")  # fmt: skip
    if not ORT:
        pytest.skip(f"CBIRKIT_ORT_WEB names no folder dist of onnxruntime-web@{web.VERSION}")
    web.write_site(retriever, tmp_path / "site", precision="float32", files=web.runtime(ORT))
    with served(tmp_path / "site") as (address, end), Browser() as browser:
        page, wrong, asked = browser.bare_page(), [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#all button")

        def found(act):
            page.evaluate("document.getElementById('found').replaceChildren()")
            act()
            page.wait_for_selector("#found button")
            return page.eval_on_selector_all("#found button", "all => all.map(one => one.dataset.id)")  # fmt: skip

        shared = []
        for n, image in enumerate(list(pictures(7))[:12]):
            path = tmp_path / f"{n}.png"
            Image.fromarray(image).save(path)
            truth = retriever.ids[retriever.search(read_image(path), k=10).indices[0]]
            shared.append(len({*truth} & {*found(lambda path=path: page.set_input_files("#file", path))}))  # fmt: skip
        assert min(shared) >= 9 and np.mean(shared) > 9.5
        own = page.get_attribute("#all button:nth-child(5)", "data-id")
        truth = retriever.ids[retriever.search(own, k=10).indices[0]]
        assert len({*truth} & {*found(lambda: page.click("#all button:nth-child(5)"))}) >= 9
        page.set_input_files("#file", {"name": "no.png", "mimeType": "image/png", "buffer": b"no"})
        page.wait_for_selector("#status:has-text('cannot be used')")
        turned = tmp_path / "turned.jpg"  # 6: to be turned right when it is shown
        exif, image = Image.Exif(), Image.fromarray(pictures(7)[3]).resize((90, 120))
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif, quality=95)
        truth = retriever.ids[retriever.search(read_image(turned), k=10).indices[0]]
        assert len({*truth} & {*found(lambda: page.evaluate(DROP, [list(turned.read_bytes())]))}) >= 9  # fmt: skip
        page.evaluate(CAMERA)
        page.click("#camera")
        page.wait_for_selector("#video:visible")
        assert len(found(lambda: page.click("#camera"))) == 10
        assert page.evaluate("document.getElementById('video').srcObject") is None
        session = page.context.new_cdp_session(page)
        errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert {error["errorId"] for error in errors} <= {"in-incognito"}
        page.evaluate("navigator.serviceWorker.ready")
        end()
        page.reload()
        page.wait_for_selector("#all button")
        assert len(found(lambda: page.set_input_files("#file", tmp_path / "0.png"))) == 10
        assert not wrong and all(url.startswith(("http://127.0.0.1:", "blob:")) for url in asked)
