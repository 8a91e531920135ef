"""What the tests of fetching share: a local HTTP server that misbehaves on request, and archives to serve."""

import contextlib
import hashlib
import io
import re
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from cbirkit.datasets.fetch import download


@dataclass
class Served:
    """A file and how the server behaves: `break_after` gives, for each request in turn, after how many bytes
    it hangs up."""

    body: bytes
    ranges: bool = True
    etag: str | None = None
    length: bool = True
    kind: str = "application/octet-stream"
    break_after: list = field(default_factory=list)
    statuses: list = field(default_factory=list)  # for the first requests, such as [503, 503]
    stall: float = 0.0
    wrong_start: bool = False


class Server:
    """`files`: path to `Served`; `requests`: (path, Range header or None) of every request so far."""

    def __init__(self):
        self.files, self.requests, self.headers = {}, [], []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def add(self, name, body, **behaviour):
        """Serve `body` at ``/name``; the address."""
        self.files[f"/{name}"] = Served(body, **behaviour)
        return f"{self.url}/{name}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                server.requests.append((self.path, self.headers.get("Range")))
                server.headers.append(dict(self.headers))
                served = server.files.get(self.path)
                if served is None:
                    self.send_error(404)
                elif served.statuses:
                    self.send_error(served.statuses.pop(0))
                else:
                    with contextlib.suppress(ConnectionError):
                        self._send(served)

            def _send(self, served):
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                changed = self.headers.get("If-Range") not in (None, served.etag)
                start, total = 0, len(served.body)
                if wanted and served.ranges and not changed:
                    start = int(wanted[1])
                    if start >= total:
                        self.send_response(416)
                        self.send_header("Content-Range", f"bytes */{total}")
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    self.send_response(206)
                    said = start + 1 if served.wrong_start else start
                    self.send_header("Content-Range", f"bytes {said}-{total - 1}/{total}")
                else:
                    self.send_response(200)
                self.send_header("Content-Type", served.kind)
                if served.length:
                    self.send_header("Content-Length", str(total - start))
                if served.etag:
                    self.send_header("ETag", served.etag)
                self.end_headers()
                body = served.body[start:]
                if served.break_after:
                    cut = served.break_after.pop(0)
                    body = body if cut is None else body[:cut]
                self.wfile.write(body)
                self.wfile.flush()
                if served.stall:
                    time.sleep(served.stall)
                self.close_connection = True

        return Handler


def serving(monkeypatch):
    """A server, in place of which nothing is waited for; make a fixture of it."""
    monkeypatch.setattr(download, "_WAIT", 0.0)
    server = Server()
    yield server
    server.close()


def md5(data):
    return "md5:" + hashlib.md5(data).hexdigest()


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def jpeg(seed, size=(24, 18), orientation=None):
    """A small JPEG file that differs with the seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def make_tar(files, mode="w:gz", folders=True):
    """A tar file of name to bytes, with entries for folders as real ones have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        seen = set()
        for name, data in files.items():
            parent = name.rpartition("/")[0]
            if folders and parent and parent not in seen:
                seen.add(parent)
                info = tarfile.TarInfo(parent)
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                file.addfile(info)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def make_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for parent in sorted({name.rpartition("/")[0] for name in files} - {""}):
            file.writestr(f"{parent}/", b"")
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()
