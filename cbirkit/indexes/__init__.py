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

scikit-learn's ``NearestNeighbors`` has the same ``fit`` and ``kneighbors`` and is accepted wherever an index is (see
`as_index`); it cannot add, remove or save.

faiss and numpy use all cores; ``faiss.omp_set_num_threads`` and `threadpoolctl` limit them. On macOS torch and faiss
from pip each bring an OpenMP library, which is known to end a process that uses both (faiss-wheels issue 73); both
from conda-forge share one.
"""

from .annoy_index import Annoy
from .base import BaseIndex, leave_out
from .exact import Exact, Hamming, InvertedFile
from .faiss_indexes import HNSW, IVF, IVFPQ

__all__ = [
    "HNSW",
    "IVF",
    "IVFPQ",
    "Annoy",
    "BaseIndex",
    "Exact",
    "Hamming",
    "InvertedFile",
    "as_index",
    "leave_out",
    "load",
]


def load(path, *, mmap=False, trusted=False, vectors=None):
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
        Let faiss and Annoy parse what you did not save on this machine. They crash where somebody meant them to;
        otherwise the structure is built anew from the vectors, and where none are kept (HNSW, IVF) it is refused.
    vectors : array-like of shape (n_images, n_dims), optional
        To build from, for indexes that keep none.

    Returns
    -------
    Annoy, Exact, Hamming, HNSW, InvertedFile, IVF or IVFPQ

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It holds no index, is damaged or foreign, or it is not trusted and cannot be built anew.
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
    return BaseIndex.load(path, mmap=mmap, trusted=trusted, vectors=vectors)


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
    missing = [name for name in ("fit", "kneighbors") if not callable(getattr(index, name, None))]
    if missing or isinstance(index, type):
        lacks = f"lacks {' and '.join(missing)}" if missing else "is a class, not an object"
        raise TypeError(
            f"{index!r} is not an index: it {lacks}; pass for instance cbirkit.indexes.Exact()"
        )
    return index
