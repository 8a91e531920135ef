"""Distil a network that sees no labels: photographs in, `data/tiny.safetensors` out.

    python tools/distil_tiny.py PHOTOS [PHOTOS ...] --teacher tf_mobilenet_v2 --teacher-weights FILE --out data/tiny.safetensors

PHOTOS are folders (or CSV files with a column "file"). The teacher is any backbone of `cbirkit.encoders.Deep`. Three stages, of which the
first and the last go on where they were interrupted:

1. the teacher embeds random crops of the photographs (`distil_crops.py`);
2. where the teacher is a MobileNetV2, the student begins with its blocks;
3. the student learns, with a linear projection, the teacher's centred and L2-normalised embedding (loss: 1 - cosine), and, without
   it, the teacher's distances between the images of a batch (relational distillation: Park et al. 2019, arXiv 1904.05068).
"""

import argparse
import hashlib
import itertools
import json
import time
from pathlib import Path

import numpy as np
import torch
from distil_crops import Crops
from torch import nn
from torch.nn import functional as F

from cbirkit import ImageCollection, learning
from cbirkit._atomic import write_bytes
from cbirkit.encoders import Deep
from cbirkit.nets.tiny import N_CHANNELS, TinyNet, begin_from_mobilenet, load_tiny

_FITTED_ON = 40  # batches from which the projection begins


class CropBatches:
    """Batches (pixels (n, 3, side, side) in [-1, 1], centred and normalised targets (n, n_dims)) of `Crops`, reshuffled every epoch."""

    def __init__(self, pixels, targets, rows, *, batch_size, random_state=0):
        self.pixels, self.targets, self.rows = pixels, targets, rows
        self.batch_size, self.seed = batch_size, random_state
        self.mean = _unit(targets[rows[:: max(1, len(rows) // 20_000)]]).mean(axis=0)

    def __len__(self):
        return len(self.rows) // self.batch_size

    def __iter__(self):
        return self.epoch(0)

    def epoch(self, number, start=0, device="cpu"):
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(self.rows)
        mirrored = rng.random(len(self)) < 0.5
        for batch in range(start, len(self)):
            rows = np.sort(order[batch * self.batch_size : (batch + 1) * self.batch_size])
            pixels = torch.from_numpy(self.pixels[rows]).to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1)
            pixels = (pixels.flip(3) if mirrored[batch] else pixels).contiguous(memory_format=torch.channels_last)
            yield pixels, torch.from_numpy(_unit(_unit(self.targets[rows]) - self.mean)).to(device)

    def identity(self):
        return [self.seed, self.batch_size, len(self.rows), hashlib.sha256(self.mean.tobytes()).hexdigest()]


def _unit(vectors):
    """Rows of length 1, float32."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def match_loss(student, batch):
    """1 - cosine of the projected embedding, and 20 times the relational loss of the embedding as it will be used."""
    pixels, targets = batch
    embeddings = student["network"](pixels).float().mean(dim=(2, 3))  # (n, c, h, w) -> (n, c)
    cosine = 1 - F.cosine_similarity(student["projection"](embeddings).float(), targets).mean()
    relational = F.smooth_l1_loss(relative_distances(embeddings), relative_distances(targets), beta=0.1)
    return cosine + 20 * relational, {"cosine": cosine.item(), "relational": relational.item()}


def relative_distances(vectors):
    """Euclidean distances between L2-normalised rows (n, d), divided by their mean: (n * (n - 1) / 2,)."""
    distances = F.pdist(F.normalize(vectors.float(), dim=1))
    return distances / distances.mean()


def open_photographs(places):
    """One collection of the photographs in folders and CSV files, in an order that does not follow the folders."""
    files, ids = [], []
    for place in map(Path, places):
        table = place.suffix == ".csv"
        images = ImageCollection.from_table(place, path="file") if table else ImageCollection.from_folder(place)
        files += [images.path(position) for position in range(len(images))]
        ids += [f"{(place.parent if table else place).name}/{name}" for name in images.ids]
    order = np.random.default_rng(0).permutation(len(files))
    return ImageCollection.from_files([files[i] for i in order], ids=[ids[i] for i in order], name="photographs")


def starting_student(start, teacher, batches):
    """The network, random, the shipped one or with the teacher's blocks; and a projection fitted to what it gives by least squares."""
    torch.manual_seed(0)
    network = load_tiny() if start == "shipped" else TinyNet()
    if start == "teacher":
        theirs = teacher.network
        if type(theirs).__name__ != "MobileNetV2":
            raise SystemExit(f"only a MobileNetV2 shares blocks with the student, this is a {type(theirs).__name__}; use --start random")
        begin_from_mobilenet(network, theirs)
    network = network.to(memory_format=torch.channels_last)
    embeddings, targets = [], []
    with torch.no_grad():
        for pixels, wanted in itertools.islice(batches, _FITTED_ON):
            embeddings.append(F.pad(network(pixels).mean(dim=(2, 3)), (0, 1), value=1.0))
            targets.append(wanted)
    embeddings, targets = torch.cat(embeddings).double(), torch.cat(targets).double()
    gram = embeddings.T @ embeddings
    ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    fitted = torch.linalg.solve(gram + ridge, embeddings.T @ targets).float()  # (320 + 1, n_dims)
    projection = nn.Linear(N_CHANNELS, targets.shape[1])
    with torch.no_grad():
        projection.weight.copy_(fitted[:-1].T)
        projection.bias.copy_(fitted[-1])
    return nn.ModuleDict({"network": network, "projection": projection})


def save(student, out, about):
    """Write the weights as float16 safetensors; print name, size and checksum."""
    from safetensors.torch import save as to_bytes

    tensors = {name: tensor.detach().half().contiguous() for name, tensor in student.state_dict().items()}
    data = to_bytes(tensors, metadata={"about": json.dumps(about)})  # one entry: the order of several is left to chance
    write_bytes(Path(out), data)
    print(f"{out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="+", help="folders of images, or CSV files with a column \"file\"")
    parser.add_argument("--teacher", default="tf_mobilenet_v2", help="a backbone of cbirkit.encoders.Deep")
    parser.add_argument("--teacher-weights", default="default", help="file of its weights; the official ones; or \"random\", for a trial")
    parser.add_argument("--start", choices=["teacher", "shipped", "random"], default="teacher", help="what the student begins as")
    parser.add_argument("--out", default="tiny.safetensors")
    parser.add_argument("--work", default="distil_work", help="folder for crops and checkpoints, about 40 KB a crop")
    parser.add_argument("--crops", type=int, default=8, help="crops of each photograph")
    parser.add_argument("--side", type=int, default=112, help="pixels of the student's input")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    return parser.parse_args()


def main():
    options, began = parse(), time.perf_counter()
    work = Path(options.work)
    weights = None if options.teacher_weights == "random" else options.teacher_weights
    teacher = Deep(
        options.teacher, weights, resize="squash", normalise=False, precision=options.precision, batch_size=64
    )
    crops = Crops(work / "crops", open_photographs(options.photographs), n_crops=options.crops, side=options.side)
    pixels, targets, problems = crops.make(teacher)
    for name, reason in problems:
        print(f"left out: {name}: {reason}")
    batches = CropBatches(pixels, targets, crops.good_rows(problems), batch_size=options.batch)
    student = starting_student(options.start, teacher, batches)
    settings = {"learning_rate": options.learning_rate, "weight_decay": 1e-4, "clip_norm": 1.0, "schedule": "one_cycle"}
    history = learning.train(
        student, batches, match_loss, checkpoint=work / "student", steps=options.steps, precision=options.precision, **settings
    )
    print(history.table.to_string(index=False))
    about = {"teacher": options.teacher, "photographs": len(crops.images), "crops": len(crops), "steps": options.steps}
    save(student["network"], options.out, about)
    print(f"{(time.perf_counter() - began) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
