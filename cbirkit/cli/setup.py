"""``cbirkit doctor`` and ``cbirkit prefetch``: what is there, and what to get. The doctor needs nothing but the standard library."""

import contextlib
import importlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import sys
from importlib import metadata

from cbirkit._atomic import expanded

from .choices import default_encoder, lacking, printable, sized

log = logging.getLogger(__name__)

# distribution: the module it brings, where the names differ by more than a hyphen
_MODULES = {"faiss-cpu": "faiss", "opencv-python-headless": "cv2", "umap-learn": "umap"}
_MODULES |= {"scikit-image": "skimage", "scikit-learn": "sklearn", "pillow": "PIL"}
_MODULES |= {"pyyaml": "yaml"}
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*?>=\s*(\d[^,;\s]*)[^;]*(?:;.*extra\s*==\s*.([\w-]+))?")
# loaded too, though not needed: half of an installation is found only so
_LOADED = ["torch", "torchvision"]
_GROUPS = {  # extra: (title, what installs it); test tools are left out
    "": ("needed", 'pip install -e ".[lab]"  (in the folder that holds pyproject.toml)'),
    "lab": ("for the notebooks", 'pip install "cbirkit[lab]"'),
    "text": ("for search by words", 'pip install "cbirkit[text]"'),
    "annoy": ("for the Annoy index", "pip install annoy  (needs a C++ compiler)"),
}
# names that stand for several; photos are free for everybody
_SEVERAL = {"photos": ["clothing", "flowers", "ucmerced"]}


def doctor(arguments):
    """Check the set-up: versions, cores, memory, GPU, disk, and how to install what is missing.

    examples:
      cbirkit doctor
      cbirkit doctor --quiet    only what is wrong
    """
    show = (lambda text: None) if arguments.quiet else print
    for name, value in _machine().items():
        show(f"{name:<26} {value}")
    requirements, ready = _requirements(), bool(_requirements())
    wrong = [] if ready else [f"\nnot ready: cbirkit itself is not installed: {_GROUPS[''][1]}"]
    for extra, (title, how) in _GROUPS.items():
        show(f"\n{title}")
        faults = {}
        for name, least, _ in (one for one in requirements if one[2] == extra):
            version, fault = _state(name, least, load=not extra or name in _LOADED)
            show(f"  {name:<33} {version or '-':<12} {fault or 'ok'}  (>= {least})")
            faults |= {name: fault} if fault else {}
        if faults:
            begin = f"missing {title}" if extra else "not ready"
            told = "; ".join(f"{name} is {fault}" for name, fault in faults.items())
            wrong += [f"\n{begin}: {told}", f"  install with: {how}"]
            ready = ready and bool(extra)
        if broken := [name for name, fault in faults.items() if fault.startswith("broken")]:
            again = f"pip install --force-reinstall {' '.join(broken)}"
            wrong.append(f"  what is broken, with: {again}")
    if wrong:
        print("\n".join(wrong))
    if ready:
        then = "cbirkit report FOLDER, cbirkit search FOLDER IMAGE, or the course with make lab"
        show(f"\nready; next: {then}")
    return 0 if ready else 1


def _requirements():
    """(distribution, lower bound, extra or "") of what cbirkit declares; empty if it is not installed."""
    try:
        found = map(_REQUIREMENT.match, metadata.requires("cbirkit") or [])
        return [match.groups(default="") for match in found if match]
    except metadata.PackageNotFoundError:
        return []


def _state(name, least, *, load):
    """(version or None, what is wrong or None) of one distribution."""
    module = _MODULES.get(name, name.replace("-", "_"))
    try:
        if not load and importlib.util.find_spec(module) is None:
            return None, "missing"
        loaded = importlib.import_module(module) if load else None
    except ModuleNotFoundError as error:
        return None, "missing" if error.name == module else f"broken: it needs {error.name}"
    except Exception as error:  # noqa: BLE001  whatever keeps a library from loading is the finding
        return None, f"broken: {' '.join(str(error).split())[:120]}"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:  # conda names some of them otherwise
        version = getattr(loaded or importlib.import_module(module), "__version__", least)
    return version, "too old" if _numbers(version) < _numbers(least) else None


def _numbers(version):
    """Leading numbers of a version: "2.10.0rc1" gives [2, 10, 0]."""
    return [int(n) for n in re.match(r"\d+(\.\d+)*", version)[0].split(".")]


def _machine():
    """What the machine is, name: words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = "not known"
    with contextlib.suppress(AttributeError, ValueError):  # on Windows
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    encoder = default_encoder()
    if lacks := lacking("lite0"):
        encoder += f"; lite0, which is better on most folders, needs {lacks}"
    return {
        "python": f"{platform.python_version()}  {platform.machine()}  {sys.executable}",
        "cores": cores,
        "memory": memory,
        "free disk here": f"{shutil.disk_usage('.').free / 2**30:.1f} GiB (the packages need about 8)",
        "gpu": _gpu(),
        "encoder": encoder,
    }


def _gpu():
    try:
        import torch
    except Exception:  # noqa: BLE001  the same
        return "not looked for: torch does not load"
    if torch.cuda.is_available():
        free, total = map(sized, torch.cuda.mem_get_info())
        return f"{torch.cuda.get_device_name()}, {free} of {total} free (cuda)"
    there = torch.backends.mps.is_available()
    return "Apple GPU (mps)" if there else "none that torch can use; the course needs none"


# ---------------------------------------------------------------------- prefetch


def prefetch(arguments):
    """Get weights of networks and standard data sets while online, for a class that will not be.

    examples:
      cbirkit prefetch --list                 what can be had, how large it is, what is here already
      cbirkit prefetch resnet50 flowers102    weights of a backbone, and a data set
      cbirkit prefetch photos                 three sets of photographs that are free to use, 740 MB
      cbirkit prefetch sop --root /mnt/large

    A download that breaks is continued by the same command. What cannot be got is said, with what to download by hand and
    where to put it; the rest is got all the same.
    """
    from cbirkit.datasets.fetch import data_root, fetchable

    if not arguments.names and not arguments.list:
        arguments.parser.error("name what to get, or give --list")
    root, failed = data_root(arguments.root), []
    listed = fetchable(root)
    if arguments.list:
        _list(listed, root)
    wanted = dict.fromkeys(one for name in arguments.names for one in _SEVERAL.get(name, [name]))
    for name in wanted:
        try:
            print(f"{printable(name)}: {_get(name, listed, root)}")
        # no network, no room, no such name, no torch; RuntimeError is what torchvision raises for damaged files
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            failed.append(name)
            log.error(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
    if failed:
        log.error(f"{len(failed)} of {len(wanted)} could not be got: {', '.join(failed)}")
    return 1 if failed else 0


def _get(name, listed, root):
    """Get a data set or the weights of a network; what is said of it."""
    if name not in listed.index:
        from cbirkit.nets import backbones

        try:  # building the network brings its official weights into the cache
            backbone = backbones.build(name, "default", random_state=0)
        except ValueError as error:
            known = ", ".join(listed.index)
            raise ValueError(f"it is no data set ({known}), and as a backbone: {error}") from error
        return f"weights here ({printable(backbone.identity)})"
    from cbirkit.datasets.fetch import fetch_by_name

    row = listed.loc[name]
    if not row["here"]:
        log.info(f"{name}: {row['title']}, terms: {row['terms']} ({row['page']})")
    images = fetch_by_name(name, root=root)
    count = len(images) if hasattr(images, "ids") else len(images.database)
    when, place = "already" if row["here"] else "now", printable(row["folder"])
    return f"{when} here, {count:,} images in {place}"


def _list(listed, root):
    print(f"data sets, kept in {printable(root)}")
    print(listed[["n_images", "megabytes", "unpacked_megabytes", "here", "title"]].to_string())
    folder, kinds = weights_folder(), (".pth", ".pt", ".safetensors")
    print(f"\nweights, kept in {printable(folder)}; name a backbone of encoders.Deep to get its")
    for path in sorted(path for path in folder.glob("*") if path.suffix in kinds):
        print(f"  {printable(path.name):<50}{sized(path.stat().st_size):>12}")


def weights_folder():
    """Where torch keeps weights that it downloads, a `pathlib.Path`; known without importing torch."""
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return expanded(os.environ.get("TORCH_HOME") or cache) / "hub" / "checkpoints"
