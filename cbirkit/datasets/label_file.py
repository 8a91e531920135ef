"""Labels that a person gives to images, kept in a CSV file at every step; and which images to measure on."""

import csv
import io
from zlib import crc32

from cbirkit._atomic import expanded, write_bytes
from cbirkit.images.tables import read_csv

_LONGEST = 60  # letters of a label


class LabelFile:
    """A CSV file with the columns ``path`` and ``label``, as ``from_folder(folder, labels=file)`` reads it.

    Parameters
    ----------
    path : str or path
        It may be there, with labels of some of the images.
    ids : sequence of str
        Of the images that may have a label.

    Attributes
    ----------
    labels : dict of str
        By id, in the order in which they were given.

    Raises
    ------
    ValueError
        The file is there and holds something else. It is left alone.

    Examples
    --------
    >>> import tempfile
    >>> file = LabelFile(tempfile.mkdtemp() + "/labels.csv", ["a.jpg", "b.jpg"])
    >>> file.write({"b.jpg": "a bee"})
    >>> LabelFile(file.path, ["a.jpg", "b.jpg"]).labels
    {'b.jpg': 'a bee'}
    """

    def __init__(self, path, ids):
        self.path, self._bytes, self.labels = expanded(path), None, {}
        if self.path.exists():
            table = read_csv(self.path)
            if list(table) != ["path", "label"] or not set(table["path"]) <= {*map(str, ids)}:
                told = f"{self.path} is there, and holds no labels (path, label) of these images"
                raise ValueError(f"{told}; choose another file")
            self._bytes, self.labels = self.path.read_bytes(), dict(table.to_numpy().tolist())

    def write(self, labels):
        """Replace the labels, all or nothing: a kill leaves the old ones or the new ones.

        Raises
        ------
        OSError, ValueError
            The file cannot be written; others changed it since it was read or written here. Nothing changes then.
        """
        if self._bytes != (self.path.read_bytes() if self.path.exists() else None):
            told = f"{self.path} was changed by others since the last label"
            raise ValueError(f"{told}; read it again, to go on from there")
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("path", "label"), *labels.items()])
        write_bytes(self.path, data := text.getvalue().encode())
        self._bytes, self.labels = data, dict(labels)


def checked_label(name):
    """A label on one line, without spaces around it; ValueError for anything else.

    Examples
    --------
    >>> checked_label("  a bee ")
    'a bee'
    """
    name = " ".join(name.split()) if isinstance(name, str) else ""
    if not name.isprintable() or not 0 < len(name) <= _LONGEST:
        raise ValueError(f"a label has 1 to {_LONGEST} letters, got {name[:80]!r}")
    return name


def drawn_by_name(ids, share):
    """A share of images that depends on their ids alone, and stays when others come or go.

    Parameters
    ----------
    ids : sequence of str
    share : float
        From 0 to 1, about.

    Returns
    -------
    drawn, others : list of str
        Each in an order that has nothing to do with the names.

    Examples
    --------
    >>> drawn, others = drawn_by_name([f"{n}.jpg" for n in range(1000)], 0.2)
    >>> len(drawn), len(others)
    (199, 801)
    """
    places = {i: crc32(i.encode()) / 2**32 for i in map(str, ids)}
    order = sorted(places, key=places.get)
    return [i for i in order if places[i] < share], [i for i in order if places[i] >= share]
