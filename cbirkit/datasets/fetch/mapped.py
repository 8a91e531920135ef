"""Images in one large array on the disk, read one at a time."""

import numpy as np


class MappedImages:
    """Callable that reads image number `row` out of a file of uint8 pixels, mapped into memory when first
    used.

    It can be sent to other processes: each maps the file for itself.

    Parameters
    ----------
    path : path-like
        An npy file (n, h, w, 3), or raw bytes if `shape` is given.
    shape : tuple, optional
        Of one raw image as stored.
    axes : tuple, optional
        Order of the stored axes that gives (h, w, 3).
    """

    def __init__(self, path, *, shape=None, axes=None):
        self.path, self.shape, self.axes, self._pixels = str(path), shape, axes, None

    def __call__(self, row):
        image = self._mapped()[row]
        return np.array(image if self.axes is None else image.transpose(self.axes), order="C")

    def __len__(self):
        return len(self._mapped())

    def _mapped(self):
        if self._pixels is None:
            if self.shape is None:
                self._pixels = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                flat = np.memmap(self.path, dtype=np.uint8, mode="r")
                self._pixels = flat[
                    : len(flat) // np.prod(self.shape) * np.prod(self.shape)
                ].reshape(-1, *self.shape)
        return self._pixels

    def __getstate__(self):
        return {**self.__dict__, "_pixels": None}
