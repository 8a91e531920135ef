"""Is a class of `load_scenes` told by its shape alone? Probes that must fail, and a small network that must not.

    python benchmarks/scenes_probes.py                     three seeds; add --cnn-steps 2000 for the network

Retrieval by class among the 16 unseen classes, every image a query against all others, other views of the query's
own instance junk; mAP x 100, mean over queries. Each probe sees one thing only:

random       nothing: what chance gives
color        joint HSV histogram
area         the number of pixels of the whole object
position     its centre
background   the image as `tiny`, but with a grey disc over the object, as large as the largest class needs
context      the name of the ground
tiny         16 x 16 pixels
hog          oriented gradients
silhouette   oriented gradients of the visible mask: an oracle, as no method is given the mask
untrained    the network below, with random weights
cnn          five convolutions (165 thousand weights), trained to tell the 32 seen classes apart
"""

import argparse
import time

import numpy as np

from cbirkit.datasets import load_scenes, scenes
from cbirkit.encoders import HOG, ColorHistogram, TinyImage
from cbirkit.metrics import average_precision

LARGEST = 2.1 / 1.4  # radius of the circle about any class, in half-extents of the average class


def class_map(embeddings, images):
    """mAP x 100 of Euclidean neighbours by class, each image against all others."""
    relevance = scenes.class_relevance(images)
    embeddings = np.asarray(embeddings, dtype=np.float64)
    squares = (embeddings**2).sum(axis=1)
    scores = []
    for start in range(0, len(embeddings), 256):
        rows = np.arange(start, min(start + 256, len(embeddings)))
        distances = squares - 2 * embeddings[rows] @ embeddings.T
        order = np.argsort(distances, axis=1, kind="stable")
        part = relevance.select(rows)
        relevant, junk = part.relevant(order), part.junk(order)
        scores += [float(average_precision(r[~j])) for r, j in zip(relevant, junk, strict=True)]
    return 100 * float(np.mean(scores))


def without_object(images):
    """The images with a grey disc over the object; its size follows from the object's area, not from its class."""
    size = len(images[0])
    at = np.arange(size) + 0.5
    x, y, extent = (images.column(name) for name in ("x", "y", "half_extent"))
    radius = extent * LARGEST * size / 2
    for i, image in enumerate(images):
        inside = (at[None, :] - x[i]) ** 2 + (at[:, None] - y[i]) ** 2 < radius[i] ** 2
        image[inside] = 128
        yield image


def silhouettes(images):
    """Visible masks as images."""
    for i in range(len(images)):
        yield np.repeat((255 * (images.mask(i) > 0)).astype(np.uint8)[..., None], 3, axis=2)


def probe_embeddings(images):
    """Embeddings of all probes that need no training, by name."""
    rng = np.random.default_rng(0)
    context = images.column("context")
    return {
        "random": rng.normal(size=(len(images), 16)),
        "color": ColorHistogram().transform(images),
        "area": np.array([[scenes.full_masks(images, i)[0].sum()] for i in range(len(images))]),
        "position": np.stack([images.column("x"), images.column("y")], axis=1),
        "background": TinyImage(16).transform(without_object(images)),
        "context": (context[:, None] == np.unique(context))
        + 1e-6 * rng.normal(size=(len(images), 6)),
        "tiny": TinyImage(16).transform(images),
        "hog": HOG(size=64, cell=8).transform(images),
        "silhouette": HOG(size=64, cell=8).transform(silhouettes(images)),
    }


# ------------------------------------------------------------------ the network


def small_cnn(n_classes, seed=0):
    """Five convolutions, an embedding of 64 dimensions, a linear classifier."""
    import torch
    from torch import nn

    torch.manual_seed(seed)

    def block(n_in, n_out, stride):
        return [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]

    body = [
        *block(3, 24, 2),
        *block(24, 48, 2),
        *block(48, 48, 1),
        *block(48, 96, 2),
        *block(96, 96, 1),
    ]
    encoder = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 64))
    return encoder, nn.Linear(64, n_classes)


def as_tensor(images):
    """Images as a float32 tensor (n, 3, h, w) with values about -1 to 1."""
    import torch

    return torch.from_numpy(np.stack(list(images))).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def train_cnn(images, *, n_steps, seed=0, batch=64):
    """The encoder after `n_steps` of cross-entropy on the labels of `images`."""
    import torch

    classes, targets = np.unique(images.labels.astype(str), return_inverse=True)
    pixels, targets = as_tensor(images), torch.from_numpy(targets)
    encoder, head = small_cnn(len(classes), seed)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=n_steps)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.05)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pixels), generator=generator)
    for step in range(n_steps):
        at = step * batch % (len(pixels) - batch + 1)
        if at < batch:
            order = torch.randperm(len(pixels), generator=generator)
        which = order[at : at + batch]
        optimizer.zero_grad()
        loss_of(head(encoder(pixels[which])), targets[which]).backward()
        optimizer.step()
        schedule.step()
    return encoder


def cnn_embeddings(encoder, images):
    """L2-normalised embeddings (n, 64)."""
    import torch

    encoder.eval()
    with torch.no_grad():
        out = torch.cat([encoder(part) for part in as_tensor(images).split(256)])
    return torch.nn.functional.normalize(out).numpy()


# ------------------------------------------------------------------ the table


def measure(level, seed, *, size, n_instances, cnn_steps, n_train):
    """mAP x 100 of all probes, and of the network where `cnn_steps` > 0."""
    images = load_scenes(
        "objects", level, classes="unseen", n_instances=n_instances, size=size, random_state=seed
    )
    scores = {name: class_map(e, images) for name, e in probe_embeddings(images).items()}
    if cnn_steps:
        train = load_scenes("objects", level, classes="seen", n_instances=n_train, n_views=1, size=size,
                            random_state=seed)  # fmt: skip
        scores["untrained"] = class_map(cnn_embeddings(small_cnn(32, seed)[0], images), images)
        start = time.process_time()
        encoder = train_cnn(train, n_steps=cnn_steps, seed=seed)
        print(
            f"  seed {seed}: {cnn_steps * 64 / (time.process_time() - start):.0f} images/s of CPU in training"
        )
        scores["cnn"] = class_map(cnn_embeddings(encoder, images), images)
    return scores


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--levels", nargs="+", default=["std"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--n-instances", type=int, default=30)
    parser.add_argument(
        "--n-train", type=int, default=120, help="instances of each of the 32 seen classes"
    )
    parser.add_argument("--cnn-steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.cnn_steps:
        import torch

        torch.set_num_threads(options.threads)
    for level in options.levels:
        rows = [
            measure(level, seed, size=options.size, n_instances=options.n_instances, cnn_steps=options.cnn_steps,
                    n_train=options.n_train)
            for seed in options.seeds
        ]  # fmt: skip
        print(f"{level}, {options.size} px, seeds {options.seeds}: mAP x 100")
        for name in rows[0]:
            values = [row[name] for row in rows]
            print(
                f"  {name:12s} {np.mean(values):5.1f}   {'  '.join(f'{v:5.1f}' for v in values)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
