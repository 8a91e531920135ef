"""The checks of notebook 03: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import normalize

from cbirkit import checks
from cbirkit.checks import cnn_features, cnn_weights
from cbirkit.encoders import PCAWhitening
from cbirkit.nets.pooling import gem_pool


def solved_seen_pixels(layers, cell):
    """By all the positions that each layer reads."""
    seen = {cell}
    for kernel, stride, padding in reversed(layers):
        seen = {one * stride - padding + offset for one in seen for offset in range(kernel)}
    return min(seen), max(seen)


def solved_gem(maps, p):
    if np.isinf(p):
        return maps.max(axis=(2, 3))
    return gem_pool(torch.from_numpy(maps).double(), p, eps=1e-30).numpy()


def solved_whitened_cosines(embeddings, split, n_dims):
    rows = PCAWhitening(n_dims).fit(embeddings[split == "aside"]).transform(embeddings)
    return rows[split == "query"] @ rows[split == "database"].T


def solved_crow(maps):
    out = np.zeros(maps.shape[:2])
    for image, row in zip(maps, out, strict=True):
        places = np.sqrt(normalize(image.sum(axis=0).reshape(1, -1))).reshape(image.shape[1:])
        firing = [np.count_nonzero(channel) / channel.size for channel in image]
        for k, channel in enumerate(image):
            if firing[k]:
                row[k] = np.log(sum(firing) / firing[k]) * np.sum(places * channel)
    return out


CHECKS = {
    "seen_pixels": (checks.check_seen_pixels, cnn_features.SEEN_MISTAKES, solved_seen_pixels),
    "stable_gem": (checks.check_stable_gem, cnn_features.GEM_MISTAKES, solved_gem),
    "whitened_cosines": (checks.check_whitened_cosines, cnn_weights.WHITENING_MISTAKES, solved_whitened_cosines),
    "crow": (checks.check_crow, cnn_weights.CROW_MISTAKES, solved_crow),
}


MUTANTS = (
    ("seen_pixels", lambda layers, cell: (0, 2)),
    ("seen_pixels", lambda layers, cell: tuple(max(x, 0) for x in solved_seen_pixels(layers, cell))),
    ("seen_pixels", lambda layers, cell: solved_seen_pixels(layers[-1:], cell)),
    ("stable_gem", lambda maps, p: solved_gem(maps, min(p, 50))),
    ("stable_gem", lambda maps, p: np.sqrt((maps.astype(float) ** 2).mean(axis=(2, 3)))),
    ("stable_gem", lambda maps, p: normalize(solved_gem(maps, p))),
    ("whitened_cosines", lambda e, s, n: solved_whitened_cosines(e, np.where(s == "query", "aside", s), n)),
    ("whitened_cosines", lambda e, s, n: solved_whitened_cosines(e, s, n + 1)),
    ("whitened_cosines", lambda e, s, n: normalize(e)[s == "query"] @ normalize(e)[s == "database"].T),
    ("crow", lambda maps: normalize(solved_crow(maps))),
    ("crow", lambda maps: maps.mean(axis=(2, 3))),
    ("crow", lambda maps: solved_crow(maps) / maps[0, 0].size),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet", verdict
