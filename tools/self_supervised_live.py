"""Choose learning rate and temperature of the live run of notebook 08 on its validation categories; writes `data/self_supervised_live.csv`.

    OMP_NUM_THREADS=1 python tools/self_supervised_live.py      # its cost is printed

Runs the cells of the notebook's source up to the training, then trains as the notebook does, 360 steps in three parts, with other rates
and temperatures. The test categories are not looked at. One row a run, seed 0: peak rate of the first part (the others are two thirds and
one third of it), temperature, mAP by category on the validation categories before and after, first and last loss.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
from notebook_source import read_source

from cbirkit._atomic import write_bytes

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = [(3e-3, 0.2), (1e-3, 0.2), (1e-2, 0.2), (3e-3, 0.1), (3e-3, 0.5)]
SOURCE, FIRST = ROOT / "notebooks/sources/08_self_supervised.py", "train_part(0"


def names_of(source):
    """What the notebook's cells define before it trains."""
    names = {}
    for cell in read_source(source).cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and not {"gallery", "extra"} & set(tags):
            exec(cell.source.split(FIRST)[0], names)  # noqa: S102 (our own code)
            if FIRST in cell.source:
                return names
    raise ValueError(f"no cell of {source} calls {FIRST!r}")


def run(rate, temperature):
    """One training, as a row of the table."""
    began, names = time.process_time(), names_of(SOURCE)
    names["loss"] = names["learning"].contrastive_loss(names["embed"], temperature=temperature)
    for number in range(3):
        names["train_part"](number, rate=rate * (3 - number) / 3)
    judged, losses = names["judged"], names["losses_seen"]
    row = {"rate": rate, "temperature": temperature, "before": judged[0], "after": judged[-1]}  # fmt: skip
    row |= {"first loss": losses[0], "last loss": losses[-1]}
    print(row, f"{time.process_time() - began:.0f} s", flush=True)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "data")
    options = parser.parse_args()
    rows = [run(*setting) for setting in SETTINGS]
    text = pd.DataFrame(rows).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_bytes(options.out / "self_supervised_live.csv", text.encode())
    print(f"{time.process_time():.0f} seconds of one core in all")
