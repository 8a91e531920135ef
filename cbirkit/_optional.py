"""Import packages that are heavy or optional only when they are needed, with an error that says what to install."""

import importlib

_INSTALL = {  # module: what to type when it is missing, if it is more than its name
    "annoy": 'pip install annoy  (needs a C++ compiler; with conda: "conda install python-annoy")',
    "anywidget": 'pip install "cbirkit[lab]"',
    "cv2": "pip install opencv-python-headless",
    "faiss": "pip install faiss-cpu",
    "ipywidgets": 'pip install "cbirkit[lab]"',
    "torch": "pip install torch torchvision",
    "torchvision": "pip install torch torchvision",
    "umap": "pip install umap-learn",
}


def require(module):
    """Import and return `module`, or say in one sentence how to install it.

    Parameters
    ----------
    module : str
        Dotted module name, such as ``"faiss"``.

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
        how = _INSTALL.get(top, f"pip install {top}")
        raise ImportError(
            f"{top} is needed here and could not be imported ({error}); install it with: {how}"
        ) from error
