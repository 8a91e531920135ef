"""Train small embeddings with and without attacked images, attack them, and write down what is left.

    OMP_NUM_THREADS=1 python tools/adversarial_runs.py --work FOLDER --realdata FOLDER     # goes on where it was stopped

Three ways of training, three seeds each, equal steps on close-ups of 32 pixels of the tabletop's objects: on the images as they are, on
images with random perturbations of the same size (the control), and on attacked images. Of the 49 seen categories 37 are trained on,
each object its own class; 12 validated the rate and the number of steps. Tested by instance on the 15 unseen categories.
Notebook 22 reads what this makes: `data/adversarial.csv`, one row a seed, network, defence, attack and bound, and the first
seed's networks `data/adversarial_standard.safetensors` and `data/adversarial_defended.safetensors`, as float16.
"""

import argparse
import functools
import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from adversarial_photos import photo_rows
from safetensors.numpy import save
from sklearn.metrics import roc_auc_score

from cbirkit import attacks, datasets, encoders, learning
from cbirkit._atomic import write_bytes
from cbirkit.learning.heads import normalised_softmax
from cbirkit.nets.extraction import EmbeddingNet

SIZE, STEPS, RATE, EPSILON = 32, 500, 1e-2, 4 / 255
ATTACK_STEPS = 10
WAYS = {"standard": None, "noise": 0, "defended": 3}  # steps of the attack that trains
LEVELS = (1, 2, 4, 8)
DATA = Path(__file__).resolve().parents[1] / "data"
COLUMNS = ["seed", "network", "defence", "attack", "epsilon", "value"]


@functools.lru_cache(maxsize=1)
def parts():
    """Close-ups to train on (37 categories), to validate with (12 others), and of the 15 unseen categories."""
    images = datasets.close_ups(datasets.load_tabletop(), SIZE)
    seen = images.column("seen_category")
    drawn = np.random.RandomState(0).permutation(np.unique(images.labels[seen]))
    validation = np.isin(images.labels, drawn[:12])
    return images[seen & ~validation], images[validation], images[~seen]


def train(way, seed, work):
    """The trained encoder of one way and seed, and the processor seconds it took now."""
    began = time.process_time()
    encoder = encoders.Deep("conv5", weights=None, size=SIZE, device="cpu", random_state=seed)
    batches = learning.ImageBatches(
        parts()[0],
        "instance",
        # the network normalises
        preprocessing=type(encoder.preprocessing)(SIZE, mean=(0, 0, 0), std=(1, 1, 1)),
        augment=learning.Augmentation(crop=(0.6, 1.0)),
        random_state=seed,
        progress=False,
    )
    torch.manual_seed(seed)
    network = torch.nn.ModuleDict(
        {
            "backbone": EmbeddingNet(encoder.network, encoder.preprocessing),
            "classifier": torch.nn.Linear(encoder.n_dims, len(batches.classes), bias=False),
        }
    )
    loss = normalised_softmax(
        lambda net, pixels: net["backbone"](pixels), scale=10.0, label_smoothing=0.05
    )
    if WAYS[way] is not None:
        loss = attacks.adversarial_loss(loss, epsilon=EPSILON, steps=WAYS[way])
    options = {"learning_rate": RATE, "steps": STEPS, "random_state": seed, "device": "cpu"}
    learning.train(
        network, batches, loss, checkpoint=work / f"{way} {seed}", progress=False, **options
    )
    return encoder.with_state(network["backbone"].network.state_dict()), time.process_time() - began


class Test:
    """One view of each of 90 objects of unseen categories, five others of each as a database, and P@1 of a model on them."""

    def __init__(self, view=0):
        unseen = parts()[2]
        queries, database = (
            unseen[unseen.column("view") == view],
            unseen[unseen.column("split") == "database"],
        )
        everything = np.tile(np.arange(len(database)), (len(queries), 1))
        self.gains = queries.relevance(queries, database, by="instance").gains(everything)
        self.pixels, self.database = attacks.to_pixels(queries), attacks.to_pixels(database)

    def goal(self, model):
        """The objective that is positive where the first result is wrong."""
        return attacks.Misrank(attacks.embed_pixels(model, self.database), self.gains)

    def recall(self, model, pixels, goal):
        """Share of the queries whose first result is right."""
        return float(
            (goal(torch.from_numpy(attacks.embed_pixels(model, pixels))) <= 0).float().mean()
        )


def level_rows(test, model):
    """(defence, attack, epsilon, recall@1) of one model against noise, FGSM and PGD at every bound."""
    goal = test.goal(model)
    own = attacks.Away(attacks.embed_pixels(model, test.pixels))
    yield "none", "clean", 0, test.recall(model, test.pixels, goal)
    for level in LEVELS:
        found = {
            "noise": attacks.Noise(level / 255)(model, test.pixels, goal),
            "FGSM": attacks.FGSM(level / 255)(model, test.pixels, goal),
            "PGD": attacks.PGD(level / 255, steps=ATTACK_STEPS)(model, test.pixels, goal),
            "PGD away": attacks.PGD(level / 255, steps=ATTACK_STEPS)(model, test.pixels, own),
        }
        for name, one in found.items():
            yield "none", name, level, test.recall(model, one.pixels, goal)


def other_rows(test, model, others):
    """By score, from other networks (models by name), and in L2."""
    goal = test.goal(model)
    for level in (4, 8):
        found = {"square": attacks.Square(level / 255, steps=100)(model, test.pixels, goal)}
        for name, other in others.items():
            found[f"from {name}"] = attacks.PGD(level / 255, steps=ATTACK_STEPS)(
                other, test.pixels, test.goal(other)
            )
        for name, one in found.items():
            yield "none", name, level, test.recall(model, one.pixels, goal)
    for length in (0.25, 0.5, 1.0):
        one = attacks.PGD(length, "l2", steps=ATTACK_STEPS)(model, test.pixels, goal)
        yield "none", "PGD L2", length, test.recall(model, one.pixels, goal)


def masking_rows(test, model):
    """Checks that gradients are not merely hidden: more steps, no bound, and a universal perturbation beside them."""
    goal = test.goal(model)
    for steps in (1, 3, 10, 40):
        one = attacks.PGD(4 / 255, steps=steps)(model, test.pixels, goal)
        yield "none", f"PGD {steps} steps", 4, test.recall(model, one.pixels, goal)
    free = attacks.PGD(1.0, steps=50, step=4 / 255, start="clean")(model, test.pixels, goal)
    yield "none", "PGD unbounded", 255, test.recall(model, free.pixels, goal)
    learn = torch.arange(len(test.pixels)) % 2 == 0
    own = attacks.Away(attacks.embed_pixels(model, test.pixels)).rows(learn)
    change = attacks.Universal(8 / 255, epochs=20).fit(model, test.pixels[learn], own)
    moved = attacks.perturbed(test.pixels[~learn], change, 8 / 255)
    yield "none", "universal", 8, test.recall(model, moved, goal.rows(~learn))


def defence_rows(test, model):
    """Defences without training: naive attack (made on the bare model), blocked gradient, and the adaptive attack."""
    attack, bare = attacks.PGD(4 / 255, steps=ATTACK_STEPS), test.goal(model)
    naive = attack(model, test.pixels, bare)
    changes = {
        "jpeg": functools.partial(attacks.jpeg, quality=50),
        "bit depth": functools.partial(attacks.bit_depth, bits=3),
    }
    for name, change in changes.items():
        guarded = attacks.preprocessed(model, change)
        goal = test.goal(guarded)
        blind = attack(attacks.preprocessed(model, change, gradient="none"), test.pixels, goal)
        adaptive = attack(guarded, test.pixels, goal)
        for how, pixels in (
            ("clean", test.pixels),
            ("PGD naive", naive.pixels),
            ("PGD blocked", blind.pixels),
            ("PGD adaptive", adaptive.pixels),
        ):
            yield name, how, 0 if how == "clean" else 4, test.recall(guarded, pixels, goal)
    smooth = attacks.smoothed(model, 0.05, 4)
    goal = test.goal(smooth)
    adaptive = attacks.PGD(4 / 255, steps=ATTACK_STEPS, draws=2)(smooth, test.pixels, goal)
    for how, pixels in (
        ("clean", test.pixels),
        ("PGD naive", naive.pixels),
        ("PGD adaptive", adaptive.pixels),
    ):
        yield "smoothing", how, 0 if how == "clean" else 4, test.recall(smooth, pixels, goal)


def detection_rows(test, model):
    """Area under the curve of neighbour stability, attacked against clean queries; the last attack minds the detector."""
    goal, database = test.goal(model), attacks.embed_pixels(model, test.database)
    mild = functools.partial(attacks.jpeg, quality=75)

    def auc(pixels):
        stable = [
            attacks.neighbour_stability(model, p, database, change=mild)
            for p in (test.pixels, pixels)
        ]
        return float(roc_auc_score(np.repeat([1, 0], len(pixels)), np.concatenate(stable)))

    def both(pixels):  # the mean of the image and its changed copy: what fools both is stable
        return torch.nn.functional.normalize(
            model(pixels) + attacks.preprocessed(model, mild)(pixels)
        )

    for level in (4, 8):
        attack = attacks.PGD(level / 255, steps=ATTACK_STEPS)
        for name, made in (
            ("PGD", attack(model, test.pixels, goal)),
            ("PGD adaptive", attack(both, test.pixels, goal)),
        ):
            yield "detection AUC", name, level, auc(made.pixels)
            yield "detection recall", name, level, test.recall(model, made.pixels, goal)


def measure(work, realdata):
    """Train all, attack all; a finished network's rows are kept in `work`."""
    made, parts = {}, []
    for seed in (0, 1, 2):
        for way in WAYS:
            made[way, seed], spent = train(way, seed, work)
            print(f"{way} {seed}: trained in {spent:.0f} s", flush=True)
    test = Test()
    for (way, seed), encoder in made.items():
        kept = work / f"{way} {seed}.csv"
        if not kept.exists():
            began, model = time.process_time(), attacks.attackable(encoder)
            others = {
                name: attacks.attackable(made[name, (seed + 1) % 3])
                for name in ("standard", "defended")
            }
            rows = [*level_rows(test, model)]
            if way != "noise":
                rows += [*other_rows(test, model, others), *masking_rows(test, model)]
                rows += [*defence_rows(test, model), *detection_rows(test, model)]
            pd.DataFrame([(seed, way, *row) for row in rows], columns=COLUMNS).to_csv(
                kept, index=False
            )
            print(f"{way} {seed}: attacked in {time.process_time() - began:.0f} s", flush=True)
        parts.append(pd.read_csv(kept))
    kept = work / "photos.csv"
    if not kept.exists():
        pd.DataFrame(photo_rows(realdata), columns=COLUMNS).to_csv(kept, index=False)
    return made, pd.concat([*parts, pd.read_csv(kept)], ignore_index=True)


def write(made, table, folder):
    """Write the table and the two networks of seed 0."""
    text = io.StringIO()
    table.round({"value": 4}).to_csv(text, index=False, lineterminator="\n")
    write_bytes(folder / "adversarial.csv", text.getvalue().encode())
    for way in ("standard", "defended"):
        state = {
            name: value.astype(np.float16) if value.dtype.kind == "f" else value
            for name, value in made[way, 0].state_.items()
        }
        write_bytes(folder / f"adversarial_{way}.safetensors", save(state))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for checkpoints and rows; kept"
    )
    parser.add_argument(
        "--realdata",
        type=Path,
        required=True,
        help="folder with b_instance_ukbench250 and g_checkpoints",
    )
    parser.add_argument("--out", type=Path, default=DATA)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.work.mkdir(parents=True, exist_ok=True)
    write(*measure(chosen.work, chosen.realdata), chosen.out)
