"""An encoder that counts, and images, for the tests of the store."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin

ROOT = Path(__file__).resolve().parent.parent


class Means(TransformerMixin, BaseEstimator):
    """Means of a few pixels; writes how many images it was given into a file (shared with other processes)."""

    def __init__(self, power=1.0, pause=0.0):
        self.power = power
        self.pause = pause

    def fit(self, images, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, images):
        time.sleep(self.pause)
        with open(os.environ["CBIRKIT_TEST_COUNT"], "a") as file:
            file.write(f"{len(images)}\n")
        rows = [
            np.resize(image.astype(np.float32), (12, 30)).mean(axis=1) ** self.power
            for image in images
        ]
        return np.stack(rows)  # (n, 12)


def counter(tmp_path, monkeypatch):
    """Function: how many images were encoded since it was called last."""
    file = tmp_path / "count.txt"
    monkeypatch.setenv("CBIRKIT_TEST_COUNT", str(file))

    def count():
        total = sum(map(int, file.read_text().split())) if file.exists() else 0
        file.unlink(missing_ok=True)
        return total

    return count


def write_images(folder, n, broken=()):
    """n small PNG files, some of them truncated."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        path = folder / f"{i:03d}.png"
        Image.fromarray(np.random.RandomState(i).randint(0, 256, (10, 12, 3), np.uint8)).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:60])
    return folder


def noise(n, seed=0):
    return list(np.random.RandomState(seed).randint(0, 256, (n, 10, 12, 3), np.uint8))


def n_kept(folder):
    """Embeddings that are in the store by now."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(folder / "embeddings.sqlite", timeout=60)) as connection,
    ):
        return connection.execute("SELECT count(*) FROM embeddings").fetchone()[0]
    return 0
