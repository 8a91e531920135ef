"""SIFT extraction by cbirkit's threads beside OpenCV's own loop, on views of real photographs; images a second.

    python -m benchmarks.sift_speed [--images 200] [--size 256] [--repeat 3]

Images are rendered before the clock starts. "OpenCV loop" is one detector called image after image, with OpenCV's
own threads as installed, and with one; then `encoders.SIFT.describe_all` with one thread and with all cores.
The best of `repeat` runs counts.
"""

import argparse
import os
import time

import cv2

from cbirkit.datasets import load_photo_views
from cbirkit.encoders import SIFT


def opencv_loop(images, n_threads):
    """Key points found by a plain loop over OpenCV's detector."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(n_threads)
    try:
        sift = cv2.SIFT_create(nfeatures=1000)
        return sum(
            len(sift.detectAndCompute(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), None)[0]) for i in images
        )
    finally:
        cv2.setNumThreads(before)


def ours(images, n_jobs):
    """Key points found by `describe_all`."""
    return sum(len(keypoints) for keypoints, _ in SIFT(n_jobs=n_jobs).describe_all(images))


def run():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    views = load_photo_views("medium", n_objects=60, image_size=arguments.size)
    images = [views[i] for i in range(min(arguments.images, len(views)))]
    cores = os.cpu_count()
    ways = {
        "OpenCV loop, its own threads": lambda: opencv_loop(images, -1),
        "OpenCV loop, 1 thread": lambda: opencv_loop(images, 1),
        "cbirkit SIFT, n_jobs=1": lambda: ours(images, 1),
        f"cbirkit SIFT, n_jobs={cores}": lambda: ours(images, cores),
    }
    print(
        f"{len(images)} images of {arguments.size} x {arguments.size} pixels, {cores} cores, OpenCV {cv2.__version__}"
    )
    for name, way in ways.items():
        best = float("inf")
        for _ in range(arguments.repeat):
            began = time.perf_counter()
            found = way()
            best = min(best, time.perf_counter() - began)
        print(
            f"{name:30s} {len(images) / best:7.1f} images/s  ({found / len(images):.0f} key points an image)"
        )


if __name__ == "__main__":
    run()
