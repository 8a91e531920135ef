"""`cbirkit index --workers`: what it costs, and what is left when processes are killed.

python benchmarks/workers.py time FOLDER [ENCODER]    seconds, and seconds of processor of all processes, with no, 1 and 2 workers
python benchmarks/workers.py kill FOLDER              a worker killed at 10 random points of a run, the coordinator at 5

FOLDER holds photographs; nothing is written there.
"""

import contextlib
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

COMMAND = [sys.executable, "-m", "cbirkit", "index"]


def start(folder, out, encoder, *more):
    line = [*COMMAND, folder, "--out", out, "--encoder", encoder, *more]
    return subprocess.Popen(list(map(str, line)), stderr=subprocess.PIPE, text=True)


def finish(process):
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    return errors


def rows(out):
    """Rows of the store, and different images among them."""
    query = "SELECT count(*), count(DISTINCT image) FROM embeddings"
    file = out / "store" / "embeddings.sqlite"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(file)) as connection,
    ):
        return connection.execute(query).fetchone()
    return 0, 0


def processor():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def times(folder, encoder="lite0"):
    print(f"{encoder}\nworkers | seconds | seconds of processor")
    for workers in ("none", "1", "2"):
        more = () if workers == "none" else ("--workers", workers)
        with tempfile.TemporaryDirectory() as place:
            before, began = processor(), time.monotonic()
            finish(start(folder, Path(place, "out"), encoder, *more))
            print(
                f"{workers} | {time.monotonic() - began:.1f} | {processor() - before:.1f}",
                flush=True,
            )


def kills(folder):
    with tempfile.TemporaryDirectory() as place:
        finish(start(folder, Path(place, "out"), "color+hog"))
        n = rows(Path(place, "out"))[0]
    draw = random.Random(0)
    print("killed | rows then | rows at the end | doubled | lost | encoded by the second start")
    for who in ["a worker"] * 10 + ["the coordinator"] * 5:
        with tempfile.TemporaryDirectory() as place:
            out, at = Path(place, "out"), draw.randrange(n // 20, n * 9 // 10)
            process = start(folder, out, "color+hog", "--workers", "2")
            while rows(out)[0] < at:
                time.sleep(0.005)
            own = psutil.Process(process.pid)
            workers = [one for one in own.children() if "spawn_main" in " ".join(one.cmdline())]
            os.kill(draw.choice(workers).pid if who == "a worker" else own.pid, signal.SIGKILL)
            then, again = rows(out)[0], ""
            if who == "the coordinator":
                process.communicate()
                then = rows(out)[0]
                process = start(folder, out, "color+hog", "--workers", "2")
            told = finish(process)
            if who == "the coordinator":
                again = told.split("(")[-1].split(" encoded")[0]
            end, different = rows(out)
            print(
                f"{who} | {then} | {end} | {end - different} | {n - different} | {again}",
                flush=True,
            )


if __name__ == "__main__":
    {"time": times, "kill": kills}[sys.argv[1]](*sys.argv[2:])
