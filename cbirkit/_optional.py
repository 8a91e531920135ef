"""Packages that are heavy or optional: imported only when they are needed, and their progress bars silenced."""

import contextlib
import importlib
import threading

_INSTALL = {  # module: what to type when it is missing, if it is more than its name
    "annoy": 'pip install annoy  (needs a C++ compiler; with conda: "conda install python-annoy")',
    "cv2": "pip install opencv-python-headless",
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), 'pip install "cbirkit[device]"'),
    "faiss": "pip install faiss-cpu",
    **dict.fromkeys(("distributed", "lancedb", "psycopg"), 'pip install "cbirkit[scale]"'),
    "umap": "pip install umap-learn",
}

_LOCK, _replaced = threading.Lock(), []  # what each block that silences now has replaced


def require(module, how=None):
    """Import and return `module`, or say in one sentence how to install it.

    Parameters
    ----------
    module : str
        Dotted module name, such as ``"faiss"``.
    how : str, optional
        What installs it, where that is not known here.

    Raises
    ------
    ImportError
        The module is missing or does not load; the message holds the line that installs it.

    Examples
    --------
    >>> require("json").loads("[1]")
    [1]
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.split(".")[0]
        told = f"{top} is needed here and could not be imported ({error}); install it with: {how or _INSTALL.get(top, f'pip install {top}')}"
        raise ImportError(told) from error


@contextlib.contextmanager
def bars(shown):
    """Within the block no bar of tqdm is drawn, by whatever library, unless `shown`.

    Examples
    --------
    >>> from tqdm.auto import tqdm
    >>> with bars(False):
    ...     tqdm([]).disable
    True
    """
    if shown:
        yield
        return
    from tqdm.std import tqdm

    with _LOCK:
        _replaced.append(tqdm.__init__)
        first = _replaced[0]
        tqdm.__init__ = lambda bar, *args, **how: first(bar, *args, **(how | {"disable": True}))
    try:
        yield
    finally:
        with _LOCK:  # in whatever order the blocks of several threads end
            tqdm.__init__ = _replaced.pop()
