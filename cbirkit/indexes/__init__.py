"""Nearest-neighbour indexes behind one protocol.

``fit(X)``, ``add(X) -> keys``, ``remove(keys)``, ``kneighbors(X, n_neighbors) -> (distances, keys)``, ``save(path)``
and ``load(path, mmap=False)``. Keys are numbers in order of arrival and are never used twice; smaller distances are nearer.

| class | finds | changes | needs |
|---|---|---|---|
| `Exact` | all, always | at once | numpy |
| `Hamming` | all, always, among packed bits | at once | numpy |
| `InvertedFile` | all, always, among sparse vectors | at once | scipy |
| `HNSW` | nearly all | added at once, removed ones passed over | faiss |
| `IVF` | nearly all | at once | faiss |
| `IVFPQ` | nearly all, in little memory | at once | faiss |
| `Annoy` | nearly all | collected, then built anew | annoy (compiled) |
| `PgVector` | nearly all, in a table of PostgreSQL | at once | cbirkit[scale] |
| `Lance` | nearly all, in files on disk or in an object store | at once | cbirkit[scale] |

scikit-learn's ``NearestNeighbors`` has the same ``fit`` and ``kneighbors`` and is accepted wherever an index is (see
`as_index`); it cannot add, remove or save.

faiss and numpy use all cores; ``faiss.omp_set_num_threads`` and `threadpoolctl` limit them. On macOS torch and faiss
from pip each bring an OpenMP library, which is known to end a process that uses both (faiss-wheels issue 73); both
from conda-forge share one.
"""

from cbirkit import persistence

from .annoy_index import Annoy
from .base import BaseIndex, leave_out
from .exact import Exact, Hamming, InvertedFile
from .faiss_indexes import HNSW, IVF, IVFPQ
from .lance import Lance
from .pgvector import PgVector

__all__ = ["HNSW", "IVF", "IVFPQ", "Annoy", "BaseIndex", "Exact", "Hamming", "InvertedFile"]
__all__ += ["Lance", "PgVector", "as_index", "leave_out", "load"]


def load(path, *, mmap=False, trusted=False):
    """Read an index of any class from the file it was saved to.

    Parameters
    ----------
    path : path-like
    mmap : bool
        Map vectors, graphs and lists from the file instead of copying them: what a search does not touch takes no
        memory, and processes that map the same file share what they do. `add` and `remove` first copy the structure
        into memory. (Sparse vectors and Annoy's trees are copied at once, the latter to a temporary file.) The whole
        file is still read once, to compare checksums. On Windows, a mapped file cannot be replaced.
    trusted : bool
        Let faiss and Annoy parse what you did not save on this machine. They crash where somebody meant them to, so
        that it is refused otherwise.

    Returns
    -------
    Annoy, Exact, Hamming, HNSW, InvertedFile, IVF or IVFPQ

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It holds no index, is damaged or foreign, or is not trusted.
    ImportError
        The library of the index is not installed.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "index"
    >>> Exact().fit(np.eye(3)).save(path)
    >>> load(path)
    Exact()
    """
    index = persistence.load(path, kind="index", mmap=mmap)
    with persistence.reading(path, "index"):
        if not isinstance(index, BaseIndex) or not hasattr(index, "n_indexed_"):
            raise ValueError(f"it holds {index!r}, which is not a fitted index")
        index.finish_loading(trusted=trusted)
    return index


def as_index(index=None):
    """Return `index` as it is if it can be used as one, or an exact cosine index for None.

    Parameters
    ----------
    index : object with ``fit`` and ``kneighbors``, optional
        An index of this module or scikit-learn's ``NearestNeighbors``.

    Raises
    ------
    TypeError
        It lacks one of the two methods, or is a class.

    Examples
    --------
    >>> from sklearn.neighbors import NearestNeighbors
    >>> as_index(NearestNeighbors(metric="cosine"))
    NearestNeighbors(metric='cosine')
    """
    if index is None:
        return Exact()
    if isinstance(index, type) or not (hasattr(index, "fit") and hasattr(index, "kneighbors")):
        raise TypeError(f"{index!r} is not an index: it has no fit and kneighbors, as Exact() has")
    return index
