"""The tool that distils the tiny network, run end to end on a few painted pictures."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

torch = pytest.importorskip("torch")

import distil_crops
import distil_tiny

from cbirkit import ImageCollection


@pytest.fixture
def photographs(tmp_path):
    """A folder of seven pictures of which one is broken."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    return folder


class Teacher:
    """Mean colours, slowly enough to be interrupted: fails after `n_calls`."""

    def __init__(self, n_calls=99):
        self.n_calls, self.seen = n_calls, 0

    def __repr__(self):
        return "Teacher()"

    def transform(self, images):
        self.n_calls -= 1
        if self.n_calls < 0:
            raise KeyboardInterrupt
        self.seen += len(images)
        return np.array([image.mean(axis=(0, 1)) for image in images], dtype=np.float32)


def test_crops_resume_and_name_what_is_broken(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(distil_crops, "_CHUNK", 2)
    images = ImageCollection.from_folder(photographs)

    def crops(name):
        return distil_crops.Crops(tmp_path / name, images, n_crops=3, side=32)

    whole = crops("whole")
    pixels, targets, problems = whole.make(Teacher(), progress=False)
    assert [name for name, _ in problems] == ["broken.png"]
    assert len(whole.good_rows(problems)) == 18 and pixels.shape == (21, 32, 32, 3) and targets.shape == (21, 3)
    with pytest.raises(KeyboardInterrupt):
        crops("stopped").make(Teacher(n_calls=2), progress=False)
    rest = Teacher()
    again, same_targets, same_problems = crops("stopped").make(rest, progress=False)
    assert rest.seen < 18 and same_problems == problems
    np.testing.assert_array_equal(again, pixels)
    np.testing.assert_array_equal(same_targets, targets)


def test_the_first_crop_is_the_whole_picture(photographs, tmp_path):
    images = ImageCollection.from_folder(photographs).verify(progress=False)
    crops = distil_crops.Crops(tmp_path / "crops", images, n_crops=4, side=32)
    seen, small = crops._crop(2, 0)
    wanted = Image.fromarray(images[2]).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small, np.asarray(wanted))
    assert seen.shape == (224, 224, 3) and not np.array_equal(crops._crop(2, 1)[1], small)


def test_the_relational_loss_is_zero_for_equal_geometry_alone():
    vectors = torch.nn.functional.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1)))[0]
    same, other = distil_tiny.relative_distances(3 * vectors @ turn), distil_tiny.relative_distances(vectors.flip(0))
    torch.testing.assert_close(same, distil_tiny.relative_distances(vectors), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(other, same, atol=0.05)


def test_a_run_from_photographs_to_weights(photographs, tmp_path):
    """A random teacher of another architecture, a few steps; a second run finds everything done and gives the same file."""
    command = [sys.executable, ROOT / "tools" / "distil_tiny.py", photographs, "--teacher", "conv5", "--teacher-weights", "random"]
    command += ["--start", "random", "--crops", 3, "--side", 64, "--steps", 4, "--batch", 6, "--work", tmp_path / "work"]
    files = []
    for name in ("first", "second"):
        out = tmp_path / f"{name}.safetensors"
        run = subprocess.run([*map(str, command), "--out", str(out)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert "left out: photographs/broken.png" in run.stdout
        files.append(out.read_bytes())
    assert files[0] == files[1]
    from cbirkit.nets.tiny import load_tiny

    assert load_tiny(out)(torch.zeros(1, 3, 64, 64)).shape == (1, 320, 2, 2)
