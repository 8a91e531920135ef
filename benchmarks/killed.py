"""Kill indexing, saving over an older retriever, and training, each at random points: nothing may be lost.

    python -m benchmarks.killed [--points 20]

Each job runs once to its end, which gives its duration and its result. Then it is started again and killed (SIGKILL) at points that are drawn
uniformly from its work. After each kill the job is run to its end on what is left, and the result is compared.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

INDEX = """
import sys, cbirkit.cli
print("ready", flush=True)
sys.exit(cbirkit.cli.main(["index", sys.argv[1] + "/photos", "--encoder", "vlad", "--out", sys.argv[2]]))
"""

SAVE = """
import sys
from pathlib import Path
import numpy as np
from cbirkit import ImageCollection, Retriever, encoders
new = np.random.default_rng(1).integers(0, 256, (3000, 8, 8, 3), dtype=np.uint8)
retriever = Retriever(encoders.TinyImage(16), progress=False).fit(ImageCollection.from_arrays(new))
print("ready", flush=True)
for _ in range(5):
    retriever.save(sys.argv[2])
"""

TRAIN = """
import sys
import numpy as np, torch
from cbirkit import ImageCollection, encoders, learning
random = np.random.default_rng(0)
images = ImageCollection.from_arrays(random.integers(0, 256, (96, 32, 32, 3), dtype=np.uint8), labels=[*"abcdef"] * 16)
print("ready", flush=True)
settings = {"mode": "full", "epochs": 6, "validation": images[:24], "random_state": 0, "progress": False}
start = encoders.Deep("conv5", weights=None, size=32, random_state=0)
encoder, history = learning.fine_tune(start, images[24:], checkpoint=sys.argv[2], **settings)
assert len(history.table) == 7, history.table
np.save(sys.argv[2] + ".npy", encoder.transform(images))
"""


def start(code, *arguments):
    """A process that has imported everything and begins its work now."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def finish(process):
    said, complaint = process.communicate()
    assert process.returncode == 0, (said + complaint)[-2000:]
    return said


def indexed(folder, out):
    """What a search in an index answers."""
    import cbirkit

    found = cbirkit.Retriever.load(out / "retriever")
    return found.search(
        [str(path) for path in sorted((folder / "photos").iterdir())[:5]], k=5
    ).indices


def saved(folder, out):
    """Which of the two retrievers is there: it must be one of them, and whole."""
    import cbirkit

    retriever = cbirkit.Retriever.load(out)
    return len(retriever.database_)


def trained(folder, out):
    return np.load(f"{out}.npy")


def older_retriever(out):
    from cbirkit import ImageCollection, Retriever, encoders

    old = np.random.default_rng(2).integers(0, 256, (2000, 8, 8, 3), dtype=np.uint8)
    Retriever(encoders.TinyImage(16), progress=False).fit(ImageCollection.from_arrays(old)).save(
        out
    )


def run(name, code, result, folder, points, prepare=None):
    """Kill one job at random points, and print how each attempt ended."""
    began = time.monotonic()
    whole = folder / f"{name}_whole"
    if prepare:
        prepare(whole)
    process = start(code, folder, whole)
    began = time.monotonic()
    finish(process)
    duration, expected = time.monotonic() - began, result(folder, whole)
    outcomes = []
    for number, fraction in enumerate(np.random.default_rng(0).random(points)):
        out = folder / f"{name}_{number}"
        if prepare:
            prepare(out)
        process = start(code, folder, out)
        time.sleep(fraction * duration)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ended = "killed" if process.returncode == -signal.SIGKILL else "had finished"
        if prepare:
            ended += f", then {result(folder, out)} images"  # the old or the new one, never less
        finish(start(code, folder, out))
        assert np.array_equal(result(folder, out), expected), (name, fraction)
        outcomes.append(ended)
    counts = {outcome: outcomes.count(outcome) for outcome in sorted({*outcomes})}
    print(
        f"{name}: {points} points in {duration:.1f} s: {counts}; every second run ended like the whole one"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=20)
    points = parser.parse_args().points
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        random = np.random.default_rng(0)
        for number in range(120):
            noise = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((320, 240)).save(folder / "photos" / f"{number:03}.png")
        run("index", INDEX, indexed, folder, points)
        run("save", SAVE, saved, folder, points, prepare=older_retriever)
        run("train", TRAIN, trained, folder, points)


if __name__ == "__main__":
    main()
