"""Draw what ten sentences find among the 500 photographs of Flickr8k, for a person to look at: two pictures, which do not ship.

    OMP_NUM_THREADS=1 python tools/text_sentences.py --realdata FOLDER --out FOLDER2

`data/text_sentences.csv` holds, for each sentence, how many of the first five photographs show what it says, as counted once by eye in November
2026: by a map learned without Flickr8k (``hits_not_met``), and by the one that ships (``hits_met``), which was learned from these photographs.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import text_map
from PIL import Image, ImageDraw

from cbirkit import text
from cbirkit.datasets import shipped_file
from cbirkit.encoders.base import unit

TALL, WIDE, SHOWN = 165, 200, 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realdata", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found = text_map.read(given.realdata)
    shown = given.realdata / "e_captions_flickr8k_500"
    files = np.unique(pd.read_csv(shown / "captions.csv")["file"])
    X, (coco, *captions) = found["flickr"][0], found["coco"]
    T, rows = text_map.means(*captions), found["classes"]
    parts = [(coco, T, 1), (*found["named"], text_map.NAMES), (0.5 * rows[0], rows[1], 1)]
    weight, side = text_map.ridge(parts, 2.0), text.WordMap()
    sentences = list(pd.read_csv(shipped_file("text_sentences.csv"))["sentence"])
    vectors = text.encode_sentences(sentences)
    ways = {
        "not_met": unit(vectors - T.mean(axis=0)) @ unit((X - coco.mean(axis=0)) @ weight).T,
        "met": side.encode_text(sentences) @ side.map_images(X).T,
    }
    for name, similarities in ways.items():
        sheet = Image.new("RGB", (SHOWN * WIDE, len(sentences) * TALL), "white")
        for row, (sentence, values) in enumerate(zip(sentences, similarities, strict=True)):
            ImageDraw.Draw(sheet).text((2, row * TALL + 2), sentence, "black")
            for column, at in enumerate(np.argsort(-values)[:SHOWN]):
                photograph = Image.open(shown / files[at]).convert("RGB")
                photograph.thumbnail((WIDE - 5, TALL - 20))
                sheet.paste(photograph, (column * WIDE, row * TALL + 15))
        sheet.save(given.out / f"sentences_{name}.png")


if __name__ == "__main__":
    main()
