"""What the tests of the command line share: painted folders, a way to run it, what a failure looks like."""

import re

import numpy as np
from PIL import Image

from cbirkit.cli import choices, main


def paint(path, seed, size=(40, 32)):
    rng = np.random.default_rng(seed)
    picture = np.full((size[1], size[0], 3), rng.integers(0, 255, 3), np.uint8)
    picture[4:14, 6:20] = rng.integers(0, 255, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def add_textured(folder, n):
    """Images with key points to find."""
    for seed in range(n):
        coarse = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((192, 192), Image.Resampling.BICUBIC).save(
            folder / f"n{seed}.png"
        )


def photos(tmp_path):
    """A folder of six images in two classes; a fixture in the test modules."""
    for seed in range(6):
        paint(tmp_path / "photos" / ("cat" if seed < 3 else "dog") / f"{seed}.png", seed)
    return tmp_path / "photos"


def quick(monkeypatch):
    """A quick encoder by default, for tests of something else; an autouse fixture in the test modules."""
    monkeypatch.setattr(choices, "default_encoder", lambda: "color")


def runner(capsys):
    """Runs the command line in this process: (exit code, standard output, standard error); a fixture."""

    def call(*arguments):
        capsys.readouterr()
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


def failed(result, words):
    """Exit code 1, nothing on standard output, one sentence with the words at the end of standard error."""
    code, out, err = result
    last = err.splitlines()[-1]
    assert code == 1 and out == "" and "Traceback" not in err
    assert last.startswith("cbirkit: ") and re.search(words, last), last
