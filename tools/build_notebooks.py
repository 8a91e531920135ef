"""Execute the sources of the course and write the notebooks that people open.

    python tools/build_notebooks.py                 # those whose code, or the package, changed
    python tools/build_notebooks.py 00 01 --force   # these two, whatever changed
    python tools/build_notebooks.py --check         # exit 1 where a notebook and its source differ

Sources are `notebooks/sources/NN_concept.py` (jupytext py:percent); for new prose nothing is run.
"""

import argparse
import asyncio
import functools
import os
import signal
import sys
import time
from pathlib import Path

import course
import gallery
import nbformat
import notebook_outputs
import notebook_rules
import notebook_source
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from cbirkit._atomic import write_bytes

CELL_SECONDS = 600


class BuildError(Exception):
    """A notebook that cannot be built; the message names the notebook, the cell and its first line."""


def read_built(path):
    """Return the notebook at `path`, or None where there is none that can be read."""
    try:
        return nbformat.read(path, as_version=4)
    except (FileNotFoundError, ValueError, nbformat.reader.NotJSONError):
        return None


def kernel_environment(root):
    """Return the environment of the kernels: this package, small figures, no progress bars."""
    inherited = {
        k: v for k, v in os.environ.items() if k != "MPLBACKEND"
    }  # the kernel chooses "inline" by itself
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    figures = str(Path(__file__).resolve().parent / "matplotlibrc")
    ours = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "MATPLOTLIBRC": figures, "TQDM_DISABLE": "1"}
    return inherited | ours | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}


async def execute(notebook, stem, *, root, environment=None):
    """Run all cells of `notebook` in place, in a fresh kernel, in the folder where readers run it.

    Raises
    ------
    BuildError
        A cell fails, takes too long or ends the kernel.
    """
    folder = Path(root) / "notebooks"
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        startup_timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=[
            "--IPKernelApp.log_level=40"
        ],  # no warning that it talks over TCP: it talks to us alone
    )
    client.reset_execution_trackers()
    async with client.async_setup_kernel(env=environment or kernel_environment(root)):
        _leave_interrupts_to_us()
        for index, cell in enumerate(notebook.cells):
            try:
                await client.async_execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                first = cell.source.strip().splitlines()[0]
                raise BuildError(f"{stem}, cell {index + 1}, {first!r}: {_reason(error)}") from None
    return notebook


def _leave_interrupts_to_us():
    """Undo nbclient's own signal handlers: Ctrl-C cancels every notebook, and their kernels are shut down."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.remove_signal_handler(number)
        except NotImplementedError:  # Windows
            return


def _reason(error):
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, DeadKernelError):
        return "the kernel died (out of memory?)"
    return f"ran longer than {CELL_SECONDS} s"


async def build_one(stem, *, root, present, package, force=False):
    """Bring one notebook up to date; return what was done, such as ``"built in 21 s (source changed)"``."""
    root = Path(root)
    source_file, target = (
        notebook_source.source_path(root, stem),
        notebook_source.notebook_path(root, stem),
    )
    text = source_file.read_text(encoding="utf-8")
    with_links = notebook_source.with_generated_parts(text, stem, present)
    if with_links != text:
        write_bytes(source_file, with_links.encode())
    notebook = notebook_source.read_source(source_file)
    broken = notebook_rules.broken_rules(notebook)
    if broken:
        raise BuildError("\n".join(f"{stem}, {sentence}" for sentence in broken))
    built = read_built(target)
    state = "forced" if force else notebook_source.state(notebook, built, package)
    if state == "fresh":
        return "up to date"
    began = time.perf_counter()
    if state == "text":
        _copy_outputs(built, notebook)
    else:
        await execute(notebook, stem, root=root)
    notebook.metadata[notebook_source.KEY] = {
        "code": notebook_source.code_hash(notebook),
        "package": package,
    }
    notebook_outputs.clean(notebook)
    _refuse(stem, notebook_outputs.complaints(notebook, root))
    content = nbformat.writes(notebook, version=4) + "\n"
    if len(content.encode()) > notebook_outputs.MAX_BYTES:
        _refuse(
            stem,
            [
                f"has {len(content.encode()) / 1e6:.2f} MB; at most {notebook_outputs.MAX_BYTES / 1e6:.0f} MB"
            ],
        )
    write_bytes(target, content.encode())
    gallery.refresh(notebook, stem, root)
    return (
        "prose copied"
        if state == "text"
        else f"built in {time.perf_counter() - began:.0f} s ({state})"
    )


def _refuse(stem, sentences):
    if sentences:
        raise BuildError("\n".join(f"{stem}, {sentence}" for sentence in sentences))


def _copy_outputs(built, notebook):
    outputs = [cell.outputs for cell in built.cells if cell.cell_type == "code"]
    for cell, kept in zip(
        (c for c in notebook.cells if c.cell_type == "code"), outputs, strict=True
    ):
        cell.outputs = kept


async def build_all(stems, *, root=course.ROOT, jobs=2, force=False, say=print):
    """Build several notebooks, `jobs` at a time; return True if all of them succeeded."""
    present, package = course.stems_present(root), notebook_source.package_hash(root)
    gate = asyncio.Semaphore(jobs)

    async def build(stem):
        async with gate:
            try:
                done = await build_one(
                    stem, root=root, present=present, package=package, force=force
                )
            except (BuildError, ValueError, OSError) as error:
                say(f"FAILED {error if isinstance(error, BuildError) else f'{stem}: {error}'}")
                return False
            say(f"{stem}: {done}")
            return True

    return all(await asyncio.gather(*(build(stem) for stem in stems)))


def refresh_readme(root=course.ROOT, *, write=True):
    """Bring the README's contents and pictures up to date; return True if they were so before."""
    path, present = Path(root) / "README.md", course.stems_present(root)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    new = course.replace_between(
        text, "contents", course.course_table(present, folder="notebooks/", shows=True)
    )
    built = {stem: read_built(notebook_source.notebook_path(root, stem)) for stem in present}
    tables = gallery.readme_tables(
        {stem: notebook for stem, notebook in built.items() if notebook is not None}
    )
    for marker, table in tables.items():
        new = course.replace_between(new, marker, table)
    if new != text and write:
        write_bytes(path, new.encode())
    return new == text


def check(stems, *, root=course.ROOT):
    """Return one sentence per notebook, link or table that is not what its source says."""
    found, present = [], course.stems_present(root)
    for stem in stems:
        text = notebook_source.source_path(root, stem).read_text(encoding="utf-8")
        source = notebook_source.read_source(notebook_source.source_path(root, stem))
        found += [f"{stem}, {sentence}" for sentence in notebook_rules.broken_rules(source)]
        if text != notebook_source.with_generated_parts(text, stem, present):
            found.append(f"{stem}: its links or course map are out of date")
        built = read_built(notebook_source.notebook_path(root, stem))
        if built is None:
            found.append(f"{stem} has not been built, or cannot be read")
        else:
            found += [
                f"{stem}, {sentence}" for sentence in notebook_source.differences(source, built)
            ]
            if built.metadata.get(notebook_source.KEY, {}).get("code") != notebook_source.code_hash(
                source
            ):
                found.append(f"{stem}: the outputs belong to other code than the source's")
            found += [
                f"{stem}, {sentence}" for sentence in notebook_outputs.complaints(built, root)
            ]
            if not gallery.refresh(built, stem, Path(root), write=False):
                found.append(f"{stem}: its pictures in docs/images are out of date")
    if not refresh_readme(root, write=False):
        found.append("the contents or the pictures of README.md are out of date")
    return found


def choose(names, root=course.ROOT):
    """Return the stems that `names` mean (number, stem or path); all of them for no names."""
    present = course.stems_present(root)
    chosen = []
    for name in names:
        wanted = Path(name).stem
        matches = [stem for stem in present if stem == wanted or stem.split("_")[0] == wanted]
        if not matches:
            raise BuildError(
                f"no source is called {name!r}; there are: {', '.join(present) or 'none'}"
            )
        chosen += matches
    return chosen or present


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="numbers or names of notebooks (default: all)")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="notebooks run at a time"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run nothing; exit 1 where a notebook and its source differ",
    )
    parser.add_argument("--force", action="store_true", help="build whatever changed or not")
    parser.add_argument("--root", type=Path, default=course.ROOT, help=argparse.SUPPRESS)
    return parser


def run(arguments=None):
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        stems = choose(options.names, options.root)
        if options.check:
            found = check(stems, root=options.root)
            print("\n".join(found) or f"{len(stems)} notebooks agree with their sources")
            return 1 if found else 0
        say = functools.partial(print, flush=True)
        jobs = max(1, options.jobs)
        good = asyncio.run(
            build_all(stems, root=options.root, jobs=jobs, force=options.force, say=say)
        )
        refresh_readme(options.root)
        return 0 if good else 1
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: finished notebooks are written, the others are as they were",
            file=sys.stderr,
        )
        return 130


if __name__ == "__main__":
    sys.exit(run())
