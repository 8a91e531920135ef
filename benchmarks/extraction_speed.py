"""How fast a folder of JPEGs becomes embeddings: beside the bare forward pass, a torchvision DataLoader and timm's loader; and the memory.

    python -m benchmarks.extraction_speed [--realdata DIR] [--threads 2] [--batch 32] [--repeat 3]

Every measurement runs in a process of its own. "bare": the network alone, on batches that lie in memory ready made, as many images.
"bare, fused": the same as the package runs it (batch normalisation folded into the convolutions, a part of the batch on each core), on resized
images that lie in memory.
"cbirkit": `store.embed` of the folder into an empty store: reading, hashing, decoding, resizing, the network, writing. "DataLoader": torchvision's
`ImageFolder` and transforms in the plain loop of every tutorial, without workers and with two. "timm": timm's dataset and loader, two workers.
Best of `--repeat`. The 2,000 photographs are 256 pixels wide; those of the 20,000 are the same with other bytes behind the end of the picture, so
that each counts as new. Last: a first run is killed at 40 %, and the images that the second one still encodes are counted.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETS = ("a_category_clothing10", "b_instance_ukbench250")
TEACHER = "mobilenet_v2_tf2_dequant_torchvision.safetensors"


def make_folder(realdata, folder, copies):
    """Write `copies` times 2,000 JPEGs, all of different bytes, into `folder`/images."""
    target = folder / "images"
    target.mkdir(parents=True)
    photographs = [path for name in SETS for path in sorted((realdata / name).rglob("*.jpg"))]
    for copy in range(copies):
        for number, path in enumerate(photographs):
            (target / f"{copy:02d}_{number:05d}.jpg").write_bytes(
                path.read_bytes() + f"{copy:04d}".encode() * bool(copy)
            )
    return len(photographs) * copies


def make_encoder(name, realdata, batch):
    from cbirkit.encoders import Deep

    if name == "tiny":
        return Deep("tiny", batch_size=batch)
    return Deep("tf_mobilenet_v2", realdata / "g_checkpoints" / TEACHER, batch_size=batch)


def bare(encoder, folder, batch):
    """Seconds of the forward pass alone."""
    import torch

    network, side = (
        encoder.network.to(memory_format=torch.channels_last),
        encoder.preprocessing.shape,
    )
    n_images = len(list((folder / "images").iterdir()))
    pixels = torch.randn(batch, 3, *side).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(pixels)
        start = time.perf_counter()
        for _ in range(n_images // batch):
            network(pixels).mean(dim=(2, 3))
    return time.perf_counter() - start


def bare_fused(encoder, folder, batch):
    """Seconds of the package's forward pass on resized images in memory."""
    import numpy as np

    n_images = len(list((folder / "images").iterdir()))
    random = np.random.RandomState(0)
    prepared = [
        encoder.prepare(random.randint(0, 256, (256, 256, 3), dtype=np.uint8)) for _ in range(batch)
    ]
    encoder.transform_prepared(prepared)
    start = time.perf_counter()
    for _ in range(n_images // batch):
        encoder.transform_prepared(prepared)
    return time.perf_counter() - start


def ours(encoder, folder, batch):
    """Seconds of `store.embed` into an empty store."""
    from cbirkit import ImageCollection
    from cbirkit.store import EmbeddingStore, embed

    encoder.transform(
        [next(iter(ImageCollection.from_folder(folder / "images")))]
    )  # the network is built
    with tempfile.TemporaryDirectory(dir=folder) as store:
        start = time.perf_counter()
        embed(
            encoder,
            ImageCollection.from_folder(folder / "images"),
            EmbeddingStore(store),
            batch_size=batch,
            progress=False,
        )
        return time.perf_counter() - start


def dataloader(encoder, folder, batch, workers):
    """Seconds of the plain loop over torchvision's ImageFolder."""
    import torch
    from torchvision import datasets, transforms

    wanted = encoder.preprocessing
    steps = [
        transforms.Resize(wanted.shape),
        transforms.ToTensor(),
        transforms.Normalize(wanted.mean, wanted.std),
    ]
    data = datasets.ImageFolder(folder, transforms.Compose(steps))
    return loop(encoder, torch.utils.data.DataLoader(data, batch_size=batch, num_workers=workers))


def timm_loader(encoder, folder, batch):
    """Seconds of the same loop over timm's dataset and loader."""
    from timm.data import create_dataset, create_loader

    wanted = encoder.preprocessing
    data = create_dataset("", root=str(folder))
    loader = create_loader(
        data, (3, *wanted.shape), batch, use_prefetcher=False, num_workers=2, mean=wanted.mean, std=wanted.std, crop_pct=1.0,
        crop_mode="squash", interpolation="bilinear",
    )  # fmt: skip
    return loop(encoder, loader)


def loop(encoder, loader):
    import torch

    network = encoder.network.to(memory_format=torch.channels_last)
    start, rows = time.perf_counter(), []
    with torch.inference_mode():
        for pixels, _ in loader:
            maps = network(pixels.contiguous(memory_format=torch.channels_last))
            rows.append(torch.nn.functional.normalize(maps.mean(dim=(2, 3)), dim=1))
    torch.cat(rows)
    return time.perf_counter() - start


WAYS = {
    "bare": bare,
    "bare, fused": bare_fused,
    "cbirkit": ours,
    "DataLoader, no workers": lambda *given: dataloader(*given, workers=0),
    "DataLoader, 2 workers": lambda *given: dataloader(*given, workers=2),
    "timm, 2 workers": timm_loader,
}


def measure_here(arguments):
    """One measurement, in this process; prints JSON."""
    import torch

    torch.set_num_threads(arguments.threads)
    encoder = make_encoder(arguments.encoder, arguments.realdata, arguments.batch)
    seconds = WAYS[arguments.way](encoder, arguments.folder, arguments.batch)
    cpu = sum(
        getattr(resource.getrusage(who), field)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        for field in ("ru_utime", "ru_stime")
    )
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": cpu,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def measure(way, encoder, folder, arguments):
    """One measurement in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.extraction_speed",
        "--way",
        way,
        "--encoder",
        encoder,
        "--folder",
        str(folder),
    ]
    command += [
        "--threads",
        str(arguments.threads),
        "--batch",
        str(arguments.batch),
        "--realdata",
        str(arguments.realdata),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def embed_and_count(encoder, folder, batch, store, kill_at):
    """Images that the network encodes until the folder is done, or until this process kills itself after `kill_at` of them."""
    from cbirkit import ImageCollection
    from cbirkit.store import EmbeddingStore, embed

    cls, seen = type(encoder), 0
    encode = cls.transform_prepared

    def counted(self, prepared):
        nonlocal seen
        if kill_at and seen >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += len(prepared)
        return encode(self, prepared)

    cls.transform_prepared = counted
    embed(
        encoder,
        ImageCollection.from_folder(folder / "images"),
        EmbeddingStore(store),
        batch_size=batch,
        progress=False,
    )
    return seen


def killed_and_resumed(folder, n_images, arguments):
    """Kill an extraction at 40 %, run it again; return the images that the second run encoded."""
    with tempfile.TemporaryDirectory(dir=folder) as store:
        command = [
            sys.executable,
            "-m",
            "benchmarks.extraction_speed",
            "--way",
            "count",
            "--encoder",
            "tiny",
            "--folder",
            str(folder),
        ]
        command += [
            "--store",
            store,
            "--batch",
            str(arguments.batch),
            "--realdata",
            str(arguments.realdata),
        ]
        first = subprocess.run(
            [*command, "--kill-at", str(int(0.4 * n_images))], check=False, capture_output=True
        )
        assert first.returncode == -signal.SIGKILL, first.stderr.decode()
        return int(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[
                -1
            ]
        )


def main():
    arguments = parse()
    if arguments.way == "count":
        encoder = make_encoder(arguments.encoder, arguments.realdata, arguments.batch)
        print(
            embed_and_count(
                encoder, arguments.folder, arguments.batch, arguments.store, arguments.kill_at
            )
        )
        return
    if arguments.way:
        measure_here(arguments)
        return
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        n_images = make_folder(arguments.realdata, scratch / "few", 1)
        for encoder in ("mobilenet_v2", "tiny"):
            rates = {}
            for way in WAYS:
                runs = [
                    measure(way, encoder, scratch / "few", arguments)
                    for _ in range(arguments.repeat)
                ]
                best = min(runs, key=lambda run: run["seconds"])
                rates[way] = n_images / best["seconds"]
                share = f"{100 * rates[way] / rates['bare']:.0f} % of bare"
                print(
                    f"{encoder}, {way}: {rates[way]:.0f} images/s ({share}), peak {best['peak_mb']:.0f} MB",
                    flush=True,
                )
        rest = killed_and_resumed(scratch / "few", n_images, arguments)
        print(f"killed after {int(0.4 * n_images)} of {n_images}: the second run encoded {rest}")
        few = measure("cbirkit", "tiny", scratch / "few", arguments)["peak_mb"]
        n_many = make_folder(arguments.realdata, scratch / "many", 10)
        many = measure("cbirkit", "tiny", scratch / "many", arguments)["peak_mb"]
        print(
            f"peak memory, tiny: {few:.0f} MB for {n_images} images, {many:.0f} MB for {n_many}: {100 * (many / few - 1):+.1f} %"
        )


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "realdata"
    parser.add_argument(
        "--realdata", type=Path, default=Path(os.environ.get("CBIRKIT_REALDATA", beside))
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    for hidden in ("--way", "--encoder", "--store"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--kill-at", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
