"""A Jupyter server of its own for tests: JupyterLab and, where it is installed, Notebook 7 beside it."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_notebook(path, cells):
    """Write a notebook of code cells, given as texts, that names its kernel (else JupyterLab would ask)."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


class JupyterLab:
    """A JupyterLab server on a free port of this machine, with settings of its own; stopped on exit.

    Parameters
    ----------
    folder : path
        What it shows.
    theme : str
        "JupyterLab Light" or "JupyterLab Dark".
    notebook7 : bool
        Serve Notebook 7 too. A server mixes up static files of the two, so use it for one of them.
    """

    def __init__(self, folder, *, theme="JupyterLab Light", notebook7=False):
        self.folder = Path(folder)
        self.theme = theme
        self.application = "notebook" if notebook7 else "jupyterlab"
        self.token = secrets.token_hex(16)

    def __enter__(self):
        self._home = tempfile.TemporaryDirectory(prefix="cbirkit-lab-", ignore_cleanup_errors=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            self.application,
            "--no-browser",
            "--ip=127.0.0.1",
            f"--port={port}",
        ]
        command += [
            "--ServerApp.port_retries=0",
            "--allow-root",
            f"--ServerApp.root_dir={self.folder}",
        ]
        self._log = (Path(self._home.name) / "log.txt").open("w+", encoding="utf-8")
        self._server = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            cwd=self.folder,
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

    def address(self, notebook, front_end="lab"):
        """Where a browser finds a notebook, in "lab" (JupyterLab) or "notebook" (Notebook 7)."""
        if front_end == "notebook":
            return f"{self.url}/notebooks/{notebook}?token={self.token}"
        return f"{self.url}/lab/workspaces/auto-{secrets.token_hex(3)}/tree/{notebook}?token={self.token}&reset"

    def ask(self, path, *, method="GET", timeout=60):
        """Answer of the server's REST interface, as JSON."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")

    def _environment(self):
        home = Path(self._home.name)
        settings = {
            "apputils-extension/themes": {"theme": self.theme},
            "notebook-extension/tracker": {
                "windowingMode": "none"
            },  # cells out of sight stay in the page
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
            json.dumps(
                {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
            )
        )
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
        }
        folders |= {
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        folders |= {"IPYTHONDIR": "ipython"}
        paths = {name: str(home / folder) for name, folder in folders.items()}
        search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, **paths, "JUPYTER_TOKEN": self.token, "PYTHONPATH": search}

    def _wait(self, seconds=300):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                return self.ask("/api/status", timeout=30)
            except (urllib.error.URLError, OSError):
                if self._server.poll() is not None:
                    break
                time.sleep(0.1)
        self._log.seek(0)
        raise RuntimeError(f"JupyterLab did not start:\n{self._log.read()[-3000:]}")
