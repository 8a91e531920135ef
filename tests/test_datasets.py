import hashlib
import logging
import socket
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits as sklearn_digits

from cbirkit import datasets
from cbirkit.datasets import photographs
from cbirkit.datasets.photographs import (
    PHOTOGRAPHS,
    choose_regions,
    photograph_path,
    read_photograph,
    texture,
)

ROOT = Path(__file__).resolve().parent.parent


def test_from_folder_is_the_collections_own(tmp_path):
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 5, 3), 9, dtype=np.uint8)).save(tmp_path / name)
    images = datasets.from_folder(tmp_path)
    assert list(images.ids) == ["cat/1.png", "dog/2.png"]
    assert list(images.labels) == ["cat", "dog"]
    assert "label" not in datasets.from_folder(tmp_path, labels=None).table
    with pytest.raises(FileNotFoundError):
        datasets.from_folder(tmp_path / "none")


# ------------------------------------------------------------------ digits


def test_digits_are_scikit_learns_pixels_and_labels():
    digits, truth = datasets.load_digits(), sklearn_digits()
    assert len(digits) == 1797
    assert np.array_equal(digits.labels, truth.target)
    for i in (0, 17, 1796):
        image = digits[i]
        assert image.shape == (32, 32, 3) and image.dtype == np.uint8
        for row in range(32):  # naive: every 4 x 4 block is one pixel of the original
            for column in range(32):
                expected = round(truth.images[i, row // 4, column // 4] * 255 / 16 + 1e-9)
                assert abs(int(image[row, column, 0]) - expected) <= 1
        assert (image == image[..., :1]).all()


@pytest.mark.parametrize("scale", [1, 3])
def test_digits_scale_by_repeating_pixels(scale):
    small, large = datasets.load_digits(scale=1), datasets.load_digits(scale=scale)
    assert np.array_equal(large[5][::scale, ::scale], small[5])
    assert large[5].shape == (8 * scale, 8 * scale, 3)


def test_digits_split_has_twenty_queries_of_each_digit():
    digits = datasets.load_digits()
    queries, database = digits.split()
    assert np.array_equal(np.bincount(queries.labels), [20] * 10)
    assert len(database) == 1597 and not set(queries.ids) & set(database.ids)
    again, other = datasets.load_digits(), datasets.load_digits(random_state=1)
    assert list(again.column("split")) == list(digits.column("split"))
    assert list(other.column("split")) != list(digits.column("split"))


@pytest.mark.parametrize("scale", [0, -1, 1.5, "4"])
def test_digits_refuse_a_scale_that_is_no_count(scale):
    with pytest.raises((TypeError, ValueError), match="scale"):
        datasets.load_digits(scale=scale)


# ------------------------------------------------------------------ photographs


def test_every_photograph_is_found_offline_and_is_the_known_file(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("went online")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    read_photograph.cache_clear()
    for photograph in PHOTOGRAPHS:
        assert (
            hashlib.sha256(photograph_path(photograph).read_bytes()).hexdigest()
            == photograph.sha256
        )
        image = read_photograph(photograph.name)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        assert not image.flags.writeable


def test_photographs_are_decoded_once():
    assert read_photograph("coffee") is read_photograph("coffee")


def test_halved_photograph_is_the_mean_of_two_by_two_blocks():
    large, small = read_photograph("chelsea").astype(float), read_photograph("chelsea", 1)
    assert large.shape[:2] == (300, 451) and small.shape == (150, 225, 3)
    for row, column in [(0, 0), (7, 200), (149, 224)]:
        block = large[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(axis=(0, 1))
        assert np.abs(block - small[row, column]).max() <= 0.51


def test_a_photograph_that_is_not_installed_is_named():
    missing = PHOTOGRAPHS[0]._replace(file="skimage/data/no_such_photograph.png")
    with pytest.raises(
        FileNotFoundError, match=r"no_such_photograph\.png is not in .*scikit-image"
    ):
        photograph_path(missing)


def test_a_changed_file_is_logged(monkeypatch, caplog):
    changed = PHOTOGRAPHS[0]._replace(sha256="0" * 64)
    monkeypatch.setitem(photographs._BY_NAME, changed.name, changed)
    photographs.file_digest.cache_clear()
    with caplog.at_level(logging.WARNING):
        photographs.file_digest(changed.name)
    assert "astronaut.png differs" in caplog.text
    photographs.file_digest.cache_clear()


def test_every_photograph_is_credited_in_the_data_readme():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    credits = datasets.photo_credits()
    assert len(credits) == 15
    for source, row in credits.iterrows():
        line = next((line for line in text.splitlines() if line.startswith(f"| {source} |")), "")
        for value in (row.file, row.licence, row.credit, row.address, row.sha256):
            assert value in line, f"data/README.md: the line of {source} lacks {value!r}"


@pytest.mark.parametrize("seed", range(5))
def test_regions_share_no_pixel_lie_in_their_photograph_and_have_texture(seed):
    objects, others = choose_regions(125, seed)
    assert len({r.name for r in objects + others}) == len(objects + others)
    for a, b in combinations(objects + others, 2):
        if a.source == b.source:
            apart_x = a.x + a.side <= b.x or b.x + b.side <= a.x
            apart_y = a.y + a.side <= b.y or b.y + b.side <= a.y
            assert apart_x or apart_y, (a, b)
    most = {p.name: p.most for p in PHOTOGRAPHS}
    for region in objects + others:
        height, width = read_photograph(region.source).shape[:2]
        assert 0 <= region.x <= width - region.side and 0 <= region.y <= height - region.side
    assert min(r.texture for r in objects) >= 3 and min(r.texture for r in others) >= 1
    for name, count in most.items():
        assert sum(r.source == name for r in objects) <= count


def test_texture_of_a_flat_a_half_empty_and_a_striped_square():
    flat = np.full((96, 96, 3), 80, dtype=np.uint8)
    corner = flat.copy()
    corner[:24, :24] = np.random.default_rng(0).integers(0, 256, (24, 24, 3))
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 2, 64, axis=0).repeat(3, axis=2)
    assert texture(flat) == 0 and texture(corner) == 0
    assert texture(ramp) == pytest.approx(2)


def test_the_grass_is_retouched_as_the_notes_of_load_photo_views_say():
    grass = read_photograph("grass")[..., 1].astype(float)
    patch, copy = grass[24:72, 384:432], grass[186:234, 387:435]
    assert np.corrcoef(patch.ravel(), copy.ravel())[0, 1] > 0.95


def test_shipped_files_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert datasets.shipped_file("tiny.safetensors").is_file()
    with pytest.raises(
        FileNotFoundError, match="'tiny.csv' ships with the kit; there are .*tiny.safetensors"
    ):
        datasets.shipped_file("tiny.csv")


def test_without_the_repository_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.real_features, "DATA", tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="install from a clone"):
        datasets.shipped_file("tiny.safetensors")
