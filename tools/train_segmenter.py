"""Train the small segmentation network on scenes whose masks are known: `data/segmenter.safetensors`.

    OMP_NUM_THREADS=1 python tools/train_segmenter.py --work WORK   # goes on where it was stopped

Scenes of the seen and the generic classes, none of the unseen ones: two to four things of three sizes ("multi"), and small things
among clutter ("clutter"), 96 pixels a side. The network learns of each pixel whether it belongs to a thing: cross-entropy, and overlap
by Dice. Images are turned by quarters and their colour channels swapped, which changes no shape.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from cbirkit import datasets, learning
from cbirkit._atomic import write_bytes
from cbirkit.nets.conv5 import CONV5_PREPROCESSING, SegmenterNet

SIDE = 96
PLAN = {"multi": 45, "clutter": 25}  # kind: instances a class


def scenes_of(kind, group, n, seed):
    """One view each of so many things of each class."""
    return datasets.load_scenes(
        kind, classes=group, n_instances=n, n_views=1, size=SIDE, random_state=seed
    )


def rendered(work, groups=("seen", "generic"), *, share=1.0, seed=100):
    """Images (n, side, side, 3) uint8 and masks of things (n, side, side) bool; kept in `work`."""
    kept = Path(work) / f"scenes {'-'.join(groups)} {share} {seed}.npz"
    if not kept.exists():
        parts = [
            scenes_of(kind, group, max(1, round(share * n)), seed)
            for kind, n in PLAN.items()
            for group in groups
        ]
        rows = tqdm([(part, i) for part in parts for i in range(len(part))], desc="scenes")
        images, masks = zip(*((part[i], part.mask(i) > 0) for part, i in rows), strict=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, images=np.stack(images), masks=np.stack(masks))
    with np.load(kept) as file:
        return file["images"], file["masks"]


class Batches:
    """Batches (pixels (n, 3, side, side), masks (n, side, side) bool), reshuffled and varied every epoch."""

    def __init__(self, images, masks, *, batch_size=32, random_state=0):
        self.images, self.masks = images, masks
        self.batch_size, self.seed = batch_size, random_state

    def __len__(self):
        return len(self.images) // self.batch_size

    def __iter__(self):
        return self.epoch(0)

    def epoch(self, number, start=0, device="cpu"):
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(len(self.images))
        turns, swaps = (
            rng.integers(0, 4, len(self)),
            rng.permuted(np.tile(np.arange(3), (len(self), 1)), axis=1),
        )
        scaling = CONV5_PREPROCESSING.scaled(SIDE / 64)
        for batch in range(start, len(self)):
            rows = np.sort(order[batch * self.batch_size : (batch + 1) * self.batch_size])
            images = np.rot90(self.images[rows][..., swaps[batch]], turns[batch], axes=(1, 2))
            masks = np.rot90(self.masks[rows], turns[batch], axes=(1, 2))
            yield (
                scaling.to_tensor(list(images.copy()), device),
                torch.from_numpy(masks.copy()).to(device),
            )

    def identity(self):
        return [
            self.seed,
            self.batch_size,
            len(self.images),
            hashlib.sha256(self.masks.tobytes()).hexdigest(),
        ]


def loss(network, batch):
    """Cross-entropy of the pixels, and 1 - Dice over the batch."""
    pixels, masks = batch
    logits = network(pixels)
    thing = F.avg_pool2d(masks.float()[:, None], 2)  # share of each output pixel
    chance = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, thing)
    dice = 1 - 2 * (chance * thing).sum() / (chance.sum() + thing.sum())
    return entropy + dice, {"pixels": entropy.item(), "dice": dice.item()}


def save(network, out, about):
    """Write the weights as float16 safetensors; print name, size and checksum."""
    from safetensors.torch import save as to_bytes

    state = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    tensors = {name: value.detach().half().contiguous() for name, value in state.items()}
    data = to_bytes(tensors, metadata={"about": json.dumps(about)})
    write_bytes(Path(out), data)
    print(f"{out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work",
        default="segmenter_work",
        help="folder for rendered scenes (170 MB) and checkpoints",
    )
    parser.add_argument("--out", default="data/segmenter.safetensors")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--share", type=float, default=1.0, help="of the scenes; less for a trial")
    parser.add_argument("--seed", type=int, default=0)
    options, began = parser.parse_args(), time.process_time()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    images, masks = rendered(options.work, share=options.share)
    print(f"{len(images):,} scenes, {time.process_time() - began:.0f} s", flush=True)
    network = SegmenterNet().to(memory_format=torch.channels_last)
    batches = Batches(images, masks, random_state=options.seed)
    settings = {
        "learning_rate": 3e-3,
        "weight_decay": 1e-4,
        "clip_norm": 1.0,
        "schedule": "one_cycle",
    }
    settings |= {"steps": options.steps, "random_state": options.seed, "device": "cpu"}
    history = learning.train(
        network, batches, loss, checkpoint=Path(options.work) / f"run {options.seed}", **settings
    )
    print(history.table.to_string(index=False))
    save(
        network, options.out, {"scenes": len(images), "steps": options.steps, "seed": options.seed}
    )
    print(f"{time.process_time() - began:.0f} s of one core (of this start)")


if __name__ == "__main__":
    main()
