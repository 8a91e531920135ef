"""Spread the work of encoding over processes of this machine, or over the machines of a Dask cluster.

This process reads the files, sends those whose embeddings are not in the store, and alone writes to the store, each batch as its
results come: whatever is killed, what was written stays, and the same call goes on. An embedding has one row, by the contents of its
image: none is lost or doubled. (Work is not counted so: a batch whose worker was killed before it answered is encoded again.)

Dask was chosen over Ray because it is Python alone, with what it needs on Linux, macOS and Windows, and leaves the store, retries and
the order of work to us; Ray brings its own compiled runtime, its documentation calls it beta on Windows, and its object store, actors and
autoscaler would be the better choice for pipelines over many GPUs, which this is not. (Ray was read about, not tried.)

Notes
-----
A Dask cluster runs the code of whoever reaches its scheduler, and whoever asks it believes its answers: both are pickles. The one that is
started here listens on loopback only and speaks TLS with a key of its own, so that other users of the machine cannot use it. One of
several machines belongs behind TLS (``tls://host:8786``, with keys as Dask's documentation, "TLS/SSL", says) or into a network
that nobody else reaches. What is sent from here is no code: the name of a function of cbirkit, bytes of files, and the encoder as
`cbirkit.persistence` saves it, of which only classes of cbirkit and scikit-learn are made.
"""

import functools
import sqlite3
import tempfile
from contextlib import closing, suppress
from importlib.metadata import distributions
from itertools import chain, islice
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from . import __version__, persistence
from . import store as stores
from ._atomic import reason_of
from ._optional import require
from .images import ImageProblem, read_image

# one thread each; TLS; no pages that show what is going on
_HERE = {"threads_per_worker": 1, "security": True, "silence_logs": 50}
_HERE |= {"scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"}}
_SET = {"scheduler.http.routes": [], "worker.http.routes": []}
# else a worker that is not back in 15 seconds would be given up, and there would be a warning of large messages
_SET |= {"deploy.lost-worker-timeout": "1 day", "admin.large-graph-warning-threshold": "1 TB"}
# not Dask's MALLOC_TRIM_THRESHOLD_ as well, with which networks take twice the time of the processor
_SET |= {"nanny.pre-spawn-environ": dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)}
# Ctrl-C is for the process that waits for them
_START = "import cv2, signal; cv2.setNumThreads(1); signal.signal(signal.SIGINT, signal.SIG_IGN)"
_TIMEOUT, _PATIENCE = 20, 60  # seconds for an answer; without any worker
# other versions of these compute other last digits
_SAME = "numpy opencv-python-headless pillow scikit-image scikit-learn timm torch"


def encode(encoder, images, store, workers, *, progress=True):
    """Encode what a store lacks, by several processes; afterwards `store.embed` and `Retriever.fit` find it there.

    Images that cannot be read are noted in ``store.refused``, with the reason, and so are those that ended every worker that tried
    them (Dask's ``allowed-failures`` and one more: four): they are reported by the next `embed` with this store, and left out.

    Parameters
    ----------
    encoder : estimator
        Fitted, of classes of cbirkit and scikit-learn.
    images : ImageCollection, folder, or sequence of images
        What is no file is left to `embed`.
    store : EmbeddingStore
        If it cannot be written, `embed` says so.
    workers : int or str
        How many processes to start on this machine with one thread each (more than there are cores do not help); or the address of
        a scheduler, ``"tcp://host:8786"``, whose workers need the same version of cbirkit, but not the files. A script that gives
        a number needs ``if __name__ == "__main__":``.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ImportError
        Dask is not installed.
    ValueError
        The encoder cannot be sent, or a worker cannot compute what this process would: another version of cbirkit, weights that are
        not there.
    OSError
        No scheduler answers, the cluster is gone, or it has had no worker for a minute. What was done is kept.

    Notes
    -----
    Embeddings are those of one process: bit for bit for encoders without a network, to 1e-5 for networks on the same kind of
    processor (a worker with a GPU: see `cbirkit.encoders.Deep`).
    """
    distributed = require("distributed")
    images, (head, _) = stores.as_collection(images), stores.split_pipeline(encoder)
    run = stores.Run(head, images, 16, store)
    run.read = lambda at: np.fromfile(images.path(at) or "", np.uint8)
    store.folder.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=len(images), desc="workers", unit="image", delay=1, disable=not progress)
    batches = closing(stores.ahead(run.batches()))
    try:
        with bar, batches as batches, suppress(sqlite3.Error), stores.connected(store.file) as kept:
            for reached, batch, rows in _spread(workers, head, batches):
                for (at, _), row in zip(batch, rows, strict=True):
                    if isinstance(row, str):
                        store.refused[run.keys[at]] = row
                    else:
                        row = stores.checked_vectors(row[None], [images.ids[at]], head)
                        run.keep(kept, [run.keys[at]], row)
                bar.update(max(0, reached - bar.n))
    except (distributed.CancelledError, OSError) as error:
        told = (
            f"the Dask cluster ({workers}) does not answer, or has no workers ({reason_of(error)})"
        )
        raise OSError(f"{told}; what was done is kept, and the same call goes on") from error


# ---------------------------------------------------------------------- here


def _spread(workers, head, batches):
    """Have batches encoded by a cluster, which is asked for with the first one that holds anything."""
    todo = (batch for batch in batches if batch[1])
    if first := next(todo, None):
        with tempfile.TemporaryDirectory() as folder:
            saved = persistence.save_estimator(head, Path(folder, "it")).read_bytes()
        how = {"n_workers": workers} | _HERE if isinstance(workers, int) else {"address": workers}
        with settings(), require("distributed").Client(**how, timeout=_TIMEOUT) as client:
            # a task as well: its result goes to each worker once, and is made again when it is lost
            work = client.submit(bytes, saved), _identity(head)
            at_once = 3 * max(2, sum(client.nthreads().values()))
            yield from _answers(client, work, chain([first], todo), at_once)


def settings():
    """Those of Dask for the processes that are started here, while it is open."""
    config, start = require("dask").config, "distributed.worker.preload"
    given = {f"distributed.{name}": value for name, value in _SET.items()}
    return config.set({start: [*config.get(start), _START], **given})


def _answers(client, work, todo, at_once):
    """Yield batches as they are done, with the embedding of each image, or why it cannot be used."""
    distributed, waiting, suspects = require("distributed"), {}, []
    while True:
        for one in islice(todo, at_once - len(waiting)):
            waiting[client.submit(_encoded, *work, [it for _, it in one[1]], pure=False)] = one
        if not waiting:
            break
        client.wait_for_workers(1, _PATIENCE)
        with suppress(TimeoutError):
            distributed.wait(list(waiting), _PATIENCE, "FIRST_COMPLETED")
        for task in [task for task in waiting if task.done()]:
            reached, batch = waiting.pop(task)
            killed = isinstance(error := task.exception(), distributed.KilledWorker)
            if killed and at_once > 1:
                suspects += [(reached, [one]) for one in batch]
            elif error and not killed:
                raise ValueError(f"a worker failed: {reason_of(error)}") from error
            else:
                told = ["ended each worker that tried to read it"]
                yield reached, batch, told if killed else task.result(_PATIENCE)
    if suspects:  # one alone at a time: a batch is also lost when one beside it ends the worker
        yield from _answers(client, work, iter(suspects), 1)


# ---------------------------------------------------------------------- in a worker


def _encoded(saved, identity, sent):
    """Of each file that was sent (n_bytes,) the embedding (n_dims,), or a str that says why it cannot be used."""
    encoder, rows = _loaded(saved, identity), []
    for one in sent:
        try:
            rows.extend(encoder.transform([read_image(one.tobytes())]))
        except ImageProblem as problem:
            rows.append(problem.reason)
    return rows


@functools.lru_cache(4)
def _loaded(saved, identity):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "it").write_bytes(saved)
        encoder = persistence.load_estimator(Path(folder, "it"))
    if (own := _identity(encoder)) != identity:
        raise ValueError(f"it has {dict(own - identity)}, not {dict(identity - own)}; install that")
    return encoder


def _identity(encoder):
    """What has to be the same in a worker: versions, and what the encoder computes."""
    found = {(one.name, one.version) for one in distributions() if one.name in _SAME.split()}
    return frozenset(
        {("cbirkit", __version__), ("encoder", persistence.fingerprint(encoder)), *found}
    )
