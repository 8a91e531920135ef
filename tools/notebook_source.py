"""Read the reviewed sources, compare them with built notebooks, and tell what has to be built again."""

import hashlib
from pathlib import Path

import course
import jupytext
import nbformat

KEY = "cbirkit"  # where a built notebook keeps the hashes of what it was built from
_PACKAGE = ((".py", ".js", ".css"), ("cbirkit",)), (None, ("data",))


def source_path(root, stem):
    """Return the path of the source of notebook `stem` below `root`."""
    return Path(root) / "notebooks" / "sources" / f"{stem}.py"


def notebook_path(root, stem):
    """Return the path of the built notebook `stem` below `root`."""
    return Path(root) / "notebooks" / f"{stem}.ipynb"


def read_source(path, *, present=None):
    """Read a py:percent file as a notebook with deterministic cell ids.

    Parameters
    ----------
    path : Path
        The source; ``sources/00_start_here.py``.
    present : list of str, optional
        Stems of the notebooks that exist, for the links; by default nothing is generated.
    """
    text = Path(path).read_text(encoding="utf-8")
    if present is not None:
        text = with_generated_parts(text, Path(path).stem, present)
    notebook = jupytext.reads(text, fmt="py:percent")
    seen = {}
    for cell in notebook.cells:
        content = (Path(path).stem, cell.cell_type, cell.source)
        seen[content] = seen.get(content, 0) + 1
        cell.id = hashlib.sha256(repr((content, seen[content])).encode()).hexdigest()[:12]
    notebook.metadata = nbformat.from_dict({})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def with_generated_parts(text, stem, present):
    """Return the source text with its links and course map up to date, as comment lines."""
    for marker, new in course.generated_parts(stem, present).items():
        text = course.replace_between(text, marker, new, prefix="# ")
    return text


def code_hash(notebook):
    """Hash of the code cells of a notebook, with their tags: what decides the outputs, prose does not."""
    code = [
        (c.source, sorted(c.metadata.get("tags", [])))
        for c in notebook.cells
        if c.cell_type == "code"
    ]
    return hashlib.sha256(repr(code).encode()).hexdigest()[:16]


def package_hash(root):
    """Hash of the package's code and of the data it ships, by relative path and content."""
    digest = hashlib.sha256()
    for suffixes, folders in _PACKAGE:
        for folder in folders:
            for path in sorted((Path(root) / folder).rglob("*")):
                if path.is_file() and (suffixes is None or path.suffix in suffixes):
                    digest.update(path.relative_to(root).as_posix().encode())
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def differences(source, built):
    """Return one sentence per way in which a built notebook differs from its source (an empty list: none)."""
    found = []
    if len(source.cells) != len(built.cells):
        found.append(f"the source has {len(source.cells)} cells, the notebook {len(built.cells)}")
    for number, (ours, theirs) in enumerate(zip(source.cells, built.cells, strict=False), start=1):
        if _reviewed(ours) != _reviewed(theirs):
            first = (ours.source.strip().splitlines() or ["(empty)"])[0]
            found.append(f"cell {number} differs, first line in the source: {first!r}")
    return found


def _reviewed(cell):
    """What of a cell stands in the source."""
    return cell.cell_type, cell.source, cell.metadata.get("tags", []), cell.metadata.get("alt")


def state(source, built, package):
    """Say what a notebook needs: ``"fresh"``, ``"text"`` (new prose, old outputs) or why it has to be run."""
    if built is None:
        return "not built yet"
    known = built.metadata.get(KEY, {})
    if known.get("code") != code_hash(source) or code_hash(built) != code_hash(source):
        return "source changed"
    if known.get("package") != package:
        return "package changed"
    return "text" if differences(source, built) else "fresh"
