"""Decode every image of a collection once, to find those that cannot be used."""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from tqdm.auto import tqdm

from .files import ImageProblem

_BLOCK = 256  # images handed to the threads at a time, so that memory stays flat


def decode_all(images, progress=True):
    """Decode every image, on several threads.

    Returns
    -------
    good : ndarray of shape (n_images,), bool
    problems : list of (name, reason)
    """
    good, problems = np.ones(len(images), dtype=bool), []

    def problem_of(position):
        try:
            images[position]
        except ImageProblem as problem:
            return problem
        return None

    with ThreadPoolExecutor() as pool, tqdm(total=len(images), desc="verify", disable=not progress) as bar:
        positions = iter(range(len(images)))
        while block := list(islice(positions, _BLOCK)):
            for position, problem in zip(block, pool.map(problem_of, block), strict=True):
                if problem is not None:
                    good[position] = False
                    problems.append((problem.name, problem.reason))
            bar.update(len(block))
    return good, problems
