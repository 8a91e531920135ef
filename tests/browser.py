"""A real browser on a real JupyterLab, for tests: start both, open a notebook, run it, look at it.

Used as ``with JupyterLab(folder) as lab, Browser() as browser: page = browser.open(lab, "a.ipynb"); page.run_all()``,
or all of it at once as ``with running(folder, [cell], ready=selector) as page``.
Nothing is downloaded: the browser is the Chromium or Chrome of the machine.
"""

import os
import re
import shutil
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from lab_server import ROOT, JupyterLab, write_notebook

__all__ = [
    "ROOT",
    "Browser",
    "JupyterLab",
    "NotebookPage",
    "find_chromium",
    "require_browser",
    "running",
    "write_notebook",
]
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
    r"reading 'schema'.*notebook_core": "Notebook 7 looks at the shortcuts of a plugin that is being loaded",
}
PATIENCE = 120  # seconds for what takes one: a machine may be busy with other work
NAMED = {
    "application",
    "button",
    "checkbox",
    "combobox",
    "image",
    "link",
    "listbox",
    "option",
    "radio",
    "slider",
}
NAMED |= {
    "searchbox",
    "spinbutton",
    "textbox",
    "DisclosureTriangle",
}  # roles that a screen reader calls by a name


def find_chromium():
    """Path of an installed Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


def require_browser():
    """Skip the test that calls this, with the reason, where no browser can be driven; fail if one is demanded."""
    missing = [
        name for name in ("playwright", "jupyterlab", "anywidget") if find_spec(name) is None
    ]
    reason = f"not installed: {', '.join(missing)}" if missing else ""
    if not reason and find_chromium() is None:
        reason = "no chromium, chromium-browser or google-chrome on the PATH"
    if reason and os.environ.get("CBIRKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"CBIRKIT_REQUIRE_BROWSER=1, but {reason}")
    if reason:
        pytest.skip(f"no browser test: {reason}")


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

    def bare_page(self):
        """A playwright page in a window of its own, with nothing in it."""
        return self._browser.new_context().new_page()

    def open(self, lab, notebook, *, front_end="lab", width=1280, height=900, scale=1):
        """Open a notebook (path below the lab's folder) in a new window; returns a `NotebookPage`."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale
        )
        return NotebookPage(context.new_page(), lab.address(notebook, front_end))


@contextmanager
def running(folder, cells, *, ready, front_end="lab", timeout=900, width=1400, height=1200):
    """A notebook of these cells, open and run until what the selectors `ready` (or one) mean is there; skips without a browser.

    Nothing may have failed, complained or left the machine when the tests are done with it.
    """
    require_browser()
    write_notebook(Path(folder) / "notebook.ipynb", cells)
    with JupyterLab(folder, notebook7=front_end == "notebook") as lab, Browser() as browser:
        page = browser.open(lab, "notebook.ipynb", front_end=front_end, width=width, height=height)
        page.lab, page.browser, page.front_end = lab, browser, front_end
        page.run_all(*([ready] if isinstance(ready, str) else ready), timeout=timeout)
        yield page
        assert page.errors() == [] and page.complaints() == [] and page.dialogs == []
        assert len(page.requests) > 20 and page.foreign_requests(lab) == []


class NotebookPage:
    """A notebook in JupyterLab, and what the browser said and asked for meanwhile.

    Attributes
    ----------
    page : playwright Page
    requests, dialogs : list of str
        Every address asked for, web sockets included; texts of the browser's own dialogs, which are dismissed.
    """

    def __init__(self, page, address):
        self.page = page
        self.requests, self.dialogs, self._console, self._frames = [], [], [], 0
        page.set_default_timeout(PATIENCE * 1000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", self._hear)
        page.on(
            "pageerror",
            lambda error: self._console.append(f"uncaught: {' '.join(error.stack.split())[:300]}"),
        )
        page.on("dialog", self._answer)
        page.on("websocket", self._watch)
        page.goto(address)
        self._opened()

    def run_all(self, *ready, timeout=900):
        """Run all cells, and wait for the last one to end, and for what the selectors `ready` mean."""
        self.choose(
            "Edit", "Clear Outputs of All Cells"
        )  # and their numbers, which would look like a run
        self.choose("Run", "Run All Cells")
        self._wait(
            lambda: all(re.fullmatch(r"\[\d+\]:", text) for text in self.prompts()),
            timeout,
            "all cells ran",
        )
        for selector in ready:
            self.page.wait_for_selector(selector, timeout=PATIENCE * 1000)

    def save(self, by="Control+s"):
        """Write the notebook to its file, with a key pressed where the focus is; pressed again where nobody listened yet."""
        from playwright.sync_api import TimeoutError

        def saving(answer):
            return answer.request.method == "PUT" and "/api/contents" in answer.url

        for seconds in (PATIENCE / 6, PATIENCE / 6, PATIENCE):
            try:
                with self.page.expect_response(saving, timeout=1000 * seconds):
                    self.page.keyboard.press(by)
                return
            except TimeoutError:
                if seconds == PATIENCE:
                    raise

    def reload(self):
        """Load the page again, as a reader would; the kernel goes on."""
        self._frames = 0
        self.page.reload()
        self._opened()

    def choose(self, *path):
        """Click through the menus, such as ``choose("Run", "Run All Cells")``."""
        for name in path:
            self.page.get_by_role("menuitem", name=name, exact=True).click()

    def restart_kernel(self, *, run_all=False):
        """Restart the kernel, and say yes to the question whether to."""
        self.choose("Kernel")
        words = "^Restart Kernel and Run All Cells…" if run_all else "^Restart Kernel…"
        self.page.get_by_role("menuitem", name=re.compile(words)).click()
        self._frames = 0
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self._wait(lambda: self._frames >= 3, PATIENCE, "the new kernel answered")

    def use_theme(self, theme):
        """Change to "JupyterLab Light" or "JupyterLab Dark"."""
        self.choose("Settings")
        for label in ("Theme", theme):
            self.page.locator(f'.lm-Menu-itemLabel:text-is("{label}")').click()
        light = str(theme.endswith("Light")).lower()
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")

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
        return [
            text for text in self._console if not any(re.search(known, text) for known in HARMLESS)
        ]

    def foreign_requests(self, lab):
        """Requests that left this machine: there must be none."""
        own = (lab.url + "/", lab.url.replace("http", "ws", 1) + "/", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def until(self, ready, what, *, seconds=PATIENCE):
        """Wait until `ready()` is true; AssertionError with `what` went wrong, and what the status lines say."""
        end = time.monotonic() + seconds
        while not ready():
            said = self.page.locator(".cbk-status").all_inner_texts()
            assert time.monotonic() < end, (
                f"{what}; the status says {said}, the console {self._console[-3:]}"
            )
            self.page.wait_for_timeout(30)

    def fits(self, selector):
        """Wait until no part of `selector` is wider than the room it has; AssertionError otherwise."""
        parts = self.page.locator(selector)
        too_wide = "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth + 1).length"
        self.until(
            lambda: parts.count() and not parts.evaluate_all(too_wide),
            f"{selector} is wider than its room",
        )

    def unnamed(self, selector):
        """What can be used or seen in a part of the page, but has no name in the browser's accessibility tree."""
        session = self.page.context.new_cdp_session(self.page)
        root = session.send("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
        found = session.send("DOM.querySelectorAll", {"nodeId": root, "selector": selector})[
            "nodeIds"
        ]
        trees = [
            session.send("Accessibility.queryAXTree", {"nodeId": node})["nodes"] for node in found
        ]
        shown = [
            node
            for tree in trees
            for node in tree
            if not node["ignored"] and node["role"]["value"] in NAMED
        ]
        assert shown, f"there is no control in {selector}"
        wrong = [
            node["backendDOMNodeId"]
            for node in shown
            if not node.get("name", {}).get("value", "").strip()
        ]
        told = [
            session.send("DOM.getOuterHTML", {"backendNodeId": node})["outerHTML"][:150]
            for node in wrong
        ]
        session.detach()
        return told

    def close(self):
        self.page.context.close()

    def _opened(self):
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE * 1000)
        # Before the kernel's socket is open, Run All is silently lost.
        self._wait(lambda: self._frames >= 3, PATIENCE, "the kernel's socket opened")

    def _wait(self, ready, seconds, what):
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError(
                    f"waited {seconds} s in vain until {what}; console: {self._console[-5:]}"
                )
            self.page.wait_for_timeout(50)

    def _answer(self, dialog):
        if (
            dialog.type == "beforeunload"
        ):  # the notebook is not saved, and the page is left on purpose
            dialog.accept()
        else:
            self.dialogs.append(dialog.message)
            dialog.dismiss()

    def _hear(self, message):
        if message.type == "error":
            self._console.append(f"{message.text} ({message.location.get('url', '')})")

    def _watch(self, web_socket):
        self.requests.append(web_socket.url)
        if "/api/kernels/" in web_socket.url:
            web_socket.on("framereceived", self._count)

    def _count(self, _frame):
        self._frames += 1
