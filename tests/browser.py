"""A real browser on a real JupyterLab, for tests: start both, open a notebook, run it, look at it.

Used as ``with JupyterLab(folder) as lab, Browser() as browser: page = browser.open(lab, "a.ipynb"); page.run_all()``.
Nothing is downloaded: the browser is the Chromium or Chrome of the machine.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
_ARGS += [
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
]
# What JupyterLab itself writes to the console, and why it does no harm. Anything else fails a test.
HARMLESS = {
    r"the server responded with a status of 404.*/api/(contents|workspaces|settings)": "asks whether a file is there",
    r"/lab/api/(workspaces|translations)": "a fresh workspace has no saved layout, a fresh lab no language pack",
    r"WebSocket is closed before the connection is established": "Lab reconnects while a page is being left",
    r"\[virtual\]|ResizeObserver loop": "layout is measured again in the next frame",
}


def find_chromium():
    """Path of an installed Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


def require_browser():
    """Skip the test that calls this, with the reason, where no browser can be driven; fail if one is demanded."""
    missing = [name for name in ("playwright", "jupyterlab", "anywidget") if find_spec(name) is None]
    reason = f"not installed: {', '.join(missing)}" if missing else ""
    if not reason and find_chromium() is None:
        reason = "no chromium, chromium-browser or google-chrome on the PATH"
    if reason and os.environ.get("CBIRKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"CBIRKIT_REQUIRE_BROWSER=1, but {reason}")
    if reason:
        pytest.skip(f"no browser test: {reason}")


def write_notebook(path, cells):
    """Write a notebook of code cells, given as texts, that names its kernel (else JupyterLab would ask)."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


class JupyterLab:
    """A JupyterLab server on a free port of this machine, with settings of its own; stopped on exit.

    Parameters
    ----------
    folder : path
        What it shows.
    theme : str
        "JupyterLab Light" or "JupyterLab Dark".
    """

    def __init__(self, folder, *, theme="JupyterLab Light"):
        self.folder = Path(folder)
        self.theme = theme
        self.token = secrets.token_hex(16)

    def __enter__(self):
        self._home = tempfile.TemporaryDirectory(prefix="cbirkit-lab-", ignore_cleanup_errors=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
        command += ["--ServerApp.port_retries=0", "--allow-root", f"--ServerApp.root_dir={self.folder}"]
        self._log = (Path(self._home.name) / "log.txt").open("w+", encoding="utf-8")
        self._server = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=self._environment(), cwd=self.folder
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        if self._server.poll() is None:
            try:
                self.ask("/api/shutdown", method="POST")  # ends the kernels too
                self._server.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                self._server.terminate()
                try:
                    self._server.wait(10)
                except subprocess.TimeoutExpired:
                    self._server.kill()
                    self._server.wait()
        self._log.close()
        self._home.cleanup()

    def ask(self, path, *, method="GET", timeout=10):
        """Answer of the server's REST interface, as JSON."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")

    def _environment(self):
        home = Path(self._home.name)
        settings = {
            "apputils-extension/themes": {"theme": self.theme},
            "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay in the page
            "docmanager-extension/plugin": {"autosave": False},
        }
        for name, values in settings.items():
            path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        page = home / "config" / "labconfig" / "page_config.json"
        page.parent.mkdir(parents=True)
        # The pop-up with news lies over the buttons, and asks the network.
        page.write_text(
            json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
        )
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
        }
        folders |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
        folders |= {"IPYTHONDIR": "ipython"}
        paths = {name: str(home / folder) for name, folder in folders.items()}
        search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, **paths, "JUPYTER_TOKEN": self.token, "PYTHONPATH": search}

    def _wait(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                return self.ask("/api/status", timeout=5)
            except (urllib.error.URLError, OSError):
                if self._server.poll() is not None:
                    break
                time.sleep(0.1)
        self._log.seek(0)
        raise RuntimeError(f"JupyterLab did not start:\n{self._log.read()[-3000:]}")


class Browser:
    """A headless Chromium; closed on exit."""

    def __enter__(self):
        from playwright.sync_api import sync_playwright

        self._driver = sync_playwright().start()
        try:
            self._browser = self._driver.chromium.launch(
                executable_path=find_chromium(), headless=True, args=_ARGS
            )
        except BaseException:
            self._driver.stop()
            raise
        return self

    def __exit__(self, *_exception):
        self._browser.close()
        self._driver.stop()

    def open(self, lab, notebook, *, width=1280, height=900, scale=1):
        """Open a notebook (path below the lab's folder) in a new window; returns a `NotebookPage`."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale
        )
        return NotebookPage(context.new_page(), lab, notebook)


class NotebookPage:
    """A notebook in JupyterLab, and what the browser said and asked for meanwhile.

    Attributes
    ----------
    page : playwright Page
    requests : list of str
        Every address asked for, web sockets included.
    """

    def __init__(self, page, lab, notebook):
        self.page = page
        self.requests, self._console, self._frames = [], [], 0
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._console.append(f"uncaught: {error}"))
        page.on("websocket", self._watch)
        page.goto(
            f"{lab.url}/lab/workspaces/auto-{secrets.token_hex(3)}/tree/{notebook}?token={lab.token}&reset"
        )
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self._wait(
            lambda: self._frames >= 3, 60, "the kernel's socket opened"
        )  # before, Run All is silently lost

    def run_all(self, *, timeout=120):
        """Run all cells, and wait for the last one to end."""
        self.choose("Edit", "Clear Outputs of All Cells")  # and their numbers, which would look like a run
        self.choose("Run", "Run All Cells")
        self._wait(
            lambda: all(re.fullmatch(r"\[\d+\]:", text) for text in self.prompts()), timeout, "all cells ran"
        )

    def choose(self, *path):
        """Click through the menus, such as ``choose("Run", "Run All Cells")``."""
        for name in path:
            self.page.get_by_role("menuitem", name=name, exact=True).click()

    def prompts(self):
        """The text beside each code cell that is not empty: "[ ]:", "[*]:" while it runs, then its number."""
        # A cell whose input is folded away has no editor in the page.
        script = "cells => cells.filter(c => c.querySelector('.cm-content')?.textContent.trim())"
        script += ".map(c => c.querySelector('.jp-InputPrompt').textContent)"
        return self.page.eval_on_selector_all(".jp-Notebook .jp-CodeCell", script)

    def errors(self):
        """Texts of the tracebacks in the notebook."""
        return self.page.locator(
            '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]'
        ).all_inner_texts()

    def complaints(self):
        """Errors in the browser's console that are not on the list of harmless ones."""
        return [text for text in self._console if not any(re.search(known, text) for known in HARMLESS)]

    def foreign_requests(self, lab):
        """Requests that left this machine: there must be none."""
        own = (lab.url + "/", lab.url.replace("http", "ws", 1) + "/", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def wait_for_change(self, locator, before, *, timeout=10):
        """Wait until the text contents of `locator` differ from `before`; returns them."""
        self._wait(lambda: locator.all_text_contents() != before, timeout, "the text changed")
        return locator.all_text_contents()

    def close(self):
        self.page.context.close()

    def _wait(self, ready, seconds, what):
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s in vain until {what}; console: {self._console[-5:]}")
            self.page.wait_for_timeout(50)

    def _hear(self, message):
        if message.type == "error":
            self._console.append(f"{message.text} ({message.location.get('url', '')})")

    def _watch(self, web_socket):
        self.requests.append(web_socket.url)
        if "/api/kernels/" in web_socket.url:
            web_socket.on("framereceived", self._count)

    def _count(self, _frame):
        self._frames += 1
