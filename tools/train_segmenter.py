"""Train the small segmentation network on rendered pictures whose masks are known: `data/segmenter.safetensors`.

    OMP_NUM_THREADS=1 python tools/train_segmenter.py --work WORK   # goes on where it was stopped; Ctrl-C writes what it has

Pictures of `datasets.load_tabletop`, nothing of the unseen categories: objects alone, the same with other objects cut out and pasted
in, and windows of the "correlated" scenes in which no pixel belongs to an unseen category. The "independent" scenes are kept for
tests. The network learns of each pixel whether it belongs to an object: cross-entropy, and overlap by Dice. Where two objects meet, a
strip counts as ground, so that they come apart (as in the U-Net paper). Pictures are flipped, brightened and dimmed, and their colour
channels swapped, which changes no shape.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from cbirkit import datasets, learning
from cbirkit._atomic import write_bytes
from cbirkit.nets.conv5 import CONV5_PREPROCESSING, SegmenterNet

SIDE = 96
PLAN = {"alone": 1500, "pasted": 3000, "scene": 3500}  # kind: pictures


class World:
    """The pictures that may be learned from, with numbered masks; `crop` draws one of a kind."""

    def __init__(self, random_state=0):
        objects = datasets.load_tabletop("objects")
        scenes = datasets.load_tabletop("scenes")
        self.rng = np.random.default_rng(random_state)
        known = objects.column("seen_category") & objects.column("seen_instance")
        seen = set(objects.labels[objects.column("seen_category")])
        objects = objects.subset(np.flatnonzero(known))
        self.objects = [(objects[i], objects.mask(i)) for i in tqdm(range(len(objects)))]
        self.scenes = []
        for i in np.flatnonzero(scenes.column("split") == "correlated"):
            things = enumerate(scenes.column("objects")[i], 1)
            unseen = [number for number, thing in things if thing["category"] not in seen]
            self.scenes.append((scenes[i], scenes.mask(i), np.isin(scenes.mask(i), unseen)))

    def crop(self, kind):
        """A square of SIDE pixels: image (side, side, 3) uint8, mask (side, side) bool."""
        image, mask = {"alone": self._alone, "pasted": self._pasted, "scene": self._scene}[kind]()
        mask = apart(mask)
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return image, cv2.resize(mask.astype(np.uint8), (SIDE, SIDE)) > 0

    def _alone(self):
        image, mask = self.objects[self.rng.integers(len(self.objects))]
        return self._window(image, mask, self.rng.integers(SIDE, 129))

    def _pasted(self):
        image, mask = self._alone()
        image, mask = image.copy(), mask.copy()
        for number in range(101, 101 + self.rng.integers(1, 5)):
            cut, inside = self.objects[self.rng.integers(len(self.objects))]
            side = int(self.rng.uniform(0.15, 0.6) * len(image))
            cut = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
            share = cv2.resize((inside == 1).astype(np.float32), (side, side))[..., None]
            y, x = self.rng.integers(0, len(image) - side + 1, 2)
            place = np.s_[y : y + side, x : x + side]
            image[place] = (share * cut + (1 - share) * image[place]).round()
            mask[place][share[..., 0] > 0.5] = number
        return image, mask

    def _scene(self):
        """A window without any pixel of an unseen category, and with a seen object."""
        while True:
            image, mask, unseen = self.scenes[self.rng.integers(len(self.scenes))]
            numbers = np.where(unseen, -1, mask.astype(int))
            image, mask = self._window(image, numbers, self.rng.integers(64, 145))
            if mask.min() == 0 < mask.max():
                return image, mask.astype(np.uint8)

    def _window(self, image, mask, side):
        y, x = (self.rng.integers(0, length - side + 1) for length in mask.shape)
        return image[y : y + side, x : x + side], mask[y : y + side, x : x + side]


def apart(mask):
    """True on objects, but for a strip of two pixels on either side of where two of them meet."""
    square = np.ones((5, 5), np.uint8)
    objects = np.where(mask == 0, 255, mask).astype(np.uint8)
    smallest, largest = cv2.erode(objects, square), cv2.dilate(mask.astype(np.uint8), square)
    return (mask > 0) & (smallest == mask) & (largest == mask)


def pictures(work, *, share=1.0, seed=100):
    """Images (n, side, side, 3) uint8 and masks of objects (n, side, side) bool; kept in `work`."""
    kept = Path(work) / f"pictures {share} {seed}.npz"
    if not kept.exists():
        world = World(seed)
        kinds = [kind for kind, n in PLAN.items() for _ in range(round(share * n))]
        images, masks = zip(*(world.crop(kind) for kind in tqdm(kinds)), strict=True)
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
        flips, gains = rng.random(len(self)) < 0.5, rng.uniform(0.7, 1.4, (len(self), 3))
        swaps = rng.permuted(np.tile(np.arange(3), (len(self), 1)), axis=1)
        scaling = CONV5_PREPROCESSING.scaled(SIDE / 64)
        for batch in range(start, len(self)):
            rows = np.sort(order[batch * self.batch_size : (batch + 1) * self.batch_size])
            images = np.clip(self.images[rows][..., swaps[batch]] * gains[batch], 0, 255)
            way = -1 if flips[batch] else 1
            images, masks = images[:, :, ::way].astype(np.uint8), self.masks[rows][:, :, ::way]
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
    thing = F.avg_pool2d(masks.float()[:, None], 2)  # fraction of each output pixel
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
        help="folder for cut pictures (300 MB) and checkpoints",
    )
    parser.add_argument("--out", default="data/segmenter.safetensors")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the pictures; less for a trial"
    )
    parser.add_argument("--seed", type=int, default=0)
    options, began = parser.parse_args(), time.process_time()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    images, masks = pictures(options.work, share=options.share)
    print(f"{len(images):,} pictures, {time.process_time() - began:.0f} s", flush=True)
    network = SegmenterNet().to(memory_format=torch.channels_last)
    batches = Batches(images, masks, random_state=options.seed)
    settings = {
        "learning_rate": 3e-3,
        "weight_decay": 1e-4,
        "clip_norm": 1.0,
        "schedule": "one_cycle",
    }
    settings |= {"steps": options.steps, "random_state": options.seed, "device": "cpu"}
    kept = Path(options.work) / f"run {options.seed}"
    about = {"pictures": len(images), "steps": options.steps, "seed": options.seed}
    try:
        history = learning.train(network, batches, loss, checkpoint=kept, **settings)
        print(history.table.to_string(index=False))
    except KeyboardInterrupt:  # what it has learned so far is written
        about["stopped early"] = True
    save(network, options.out, about)
    print(f"{time.process_time() - began:.0f} s of one core (of this start)")


if __name__ == "__main__":
    main()
