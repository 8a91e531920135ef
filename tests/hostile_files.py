"""Files as a stranger may send them: every format that Pillow writes, odd and mutated. Run as a program, it reads them all in
one process, whose memory is limited, and prints what came of them as JSON.
"""

import contextlib
import io
import json
import logging
import resource
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F", "PA")
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "MPO", "ICO", "ICNS", "JPEG2000", "SGI", "PCX", "TGA", "DDS",
           "EPS", "IM", "MSP", "PALM", "PDF", "SPIDER", "XBM", "AVIF", "QOI")  # fmt: skip
OPTIONS = ({}, {"progressive": True}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "group4"},
           {"compression": "jpeg"}, {"icc_profile": b"no profile" * 20}, {"exif": b"Exif\0\0II*\0\xff\xff\xff\xff" * 9},
           {"transparency": 3}, {"save_all": True})  # fmt: skip


def good_files(random):
    """(format, bytes) of small pictures in every format, mode and option that go together."""
    Image.init()
    array = random.integers(0, 256, (48, 64, 4), np.uint8)
    base = Image.fromarray(array)
    for kind in FORMATS:
        for mode in MODES:
            options = OPTIONS if kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP") else OPTIONS[:1]
            for option in options:
                file = io.BytesIO()
                with contextlib.suppress(Exception):  # most do not go together
                    (base.convert("L") if mode in ("I", "I;16", "F") else base).convert(mode).save(
                        file, kind, **option
                    )
                    yield kind, file.getvalue()


def mutated(data, random):
    """The file with bytes changed, cut, doubled, or the numbers in its head made large."""
    data, how = bytearray(data), random.integers(6)
    if how == 0:
        data = data[: random.integers(len(data))]
    elif how == 1:
        at = random.integers(len(data))
        data[at:at] = data[: random.integers(len(data))]
    elif how == 2:
        at = random.integers(min(len(data), 400))
        data[at : at + 4] = random.choice(
            [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"]
        )
    elif how == 3:
        data += bytes(random.integers(1 << 16))
    else:
        for at in random.integers(
            min(len(data), 600 if how == 4 else len(data)), size=1 + random.integers(20)
        ):
            data[at] = random.integers(256)
    return bytes(data)


def peak_memory():
    """Most bytes that this process has held. Linux counts in `ru_maxrss` what the process that started this one held."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(n):
    from cbirkit.images import ImageProblem, read_image, read_thumbnail

    logging.getLogger("cbirkit").addHandler(logging.NullHandler())
    random, counts, reasons = np.random.default_rng(0), Counter(), Counter()
    good = list(good_files(random))
    good = [good[i] for i in random.permutation(len(good))]
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("a file takes minutes"))
    for number in range(n):
        kind, data = good[number % len(good)]
        data = mutated(data, random) if number % 4 else data
        signal.alarm(120)
        for read in (read_image, lambda data: read_thumbnail(data, 32)):
            try:
                pixels = read(data)
                assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
                counts["read"] += 1
            except ImageProblem as problem:
                assert problem.reason, kind
                counts["refused"] += 1
                reasons[f"{kind}: {problem.reason}"] += 1
            except Exception as error:
                raise AssertionError(f"file {number}, {kind}: {type(error).__name__}") from error
    print(json.dumps({**counts, "good": len(good), "peak": peak_memory(), "reasons": reasons}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
