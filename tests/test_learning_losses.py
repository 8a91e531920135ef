"""The loop takes every kind of loss as a plain function: triplets, two views without labels, proxies, distillation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from cbirkit import ImageCollection, learning
from cbirkit.learning import Augmentation, ClassBalanced, ImageBatches
from cbirkit.nets.preprocessing import Preprocessing

SMALL = Preprocessing(size=8)


@pytest.fixture(scope="module")
def images():
    """48 noisy images, 4 classes by their pattern."""
    random = np.random.RandomState(0)
    patterns = random.randint(0, 256, (4, 8, 8, 3))
    arrays = [
        np.clip(patterns[n % 4] + random.normal(0, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
        for n in range(48)
    ]
    return ImageCollection.from_arrays(arrays, labels=np.arange(48) % 4)


def make_network(n_dims=8, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, n_dims))


def train(network, batches, loss, **settings):
    history = learning.train(
        network, batches, loss, progress=False, **{"epochs": 15, "learning_rate": 1e-2, **settings}
    )
    return history.table


def test_triplets_of_class_balanced_batches(images):
    def loss(network, batch):
        pixels, targets = batch
        rows = functional.normalize(network(pixels))
        distances = torch.cdist(rows, rows)
        same = targets[:, None] == targets[None, :]
        hardest = (
            (distances * same).amax(dim=1) - (distances + 10 * same).amin(dim=1) + 0.2
        )  # batch-hard
        return hardest.relu().mean(), {"active": (hardest > 0).float().mean()}

    table = train(
        make_network(), ImageBatches(images, preprocessing=SMALL, sampler=ClassBalanced(4, 3)), loss
    )
    assert (
        table["loss"].iloc[-1] < 0.5 * table["loss"].iloc[0]
        and table["active"].iloc[-1] < table["active"].iloc[0]
    )


def test_two_views_without_labels(images):
    def loss(network, batch):
        pixels, numbers = batch
        rows = functional.normalize(network(pixels))
        cosines = rows @ rows.T / 0.1 - 1e9 * torch.eye(len(rows))
        other = torch.arange(len(rows)).roll(len(rows) // 2)  # the second view of the same image
        assert torch.equal(numbers, numbers[other])
        return functional.cross_entropy(cosines, other)

    augment = Augmentation(crop=None, colour=0.2, views=2)
    table = train(
        make_network(),
        ImageBatches(images, range(48), preprocessing=SMALL, batch_size=16, augment=augment),
        loss,
    )
    assert table["loss"].iloc[-1] < 0.6 * table["loss"].iloc[0]


def test_proxies_learn_and_are_part_of_a_checkpoint(images, tmp_path):
    class Killed(BaseException):
        pass

    calls = {"n": 0}

    def loss(network, batch):
        calls["n"] += 1
        if calls["n"] == 20:
            raise Killed
        rows, proxies = (
            functional.normalize(network["body"](batch[0])),
            functional.normalize(network["proxies"].weight),
        )
        return functional.cross_entropy(10 * rows @ proxies.T, batch[1])

    def network():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return torch.nn.ModuleDict(
                {"body": make_network(), "proxies": torch.nn.Embedding(4, 8)}
            )

    batches = ImageBatches(images, preprocessing=SMALL, batch_size=16)
    settings = {"learning_rate": {"body": 1e-3, "proxies": 1e-1}, "checkpoint": tmp_path / "run"}
    with pytest.raises(Killed):
        train(network(), batches, loss, **settings)
    resumed, whole = network(), network()
    train(resumed, batches, loss, **settings)
    table = train(whole, batches, loss, **{**settings, "checkpoint": None})
    assert calls["n"] == 20 + 45 - 18 + 45
    assert all(
        torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True)
    )
    assert table["loss"].iloc[-1] < 0.5 * table["loss"].iloc[0]


def test_distillation_from_outputs_computed_once(images):
    teacher = make_network(6)
    with torch.no_grad():
        wanted = teacher(SMALL(list(images)))  # (n_images, 6)

    def loss(network, batch):
        pixels, numbers = batch
        return functional.mse_loss(network(pixels), wanted[numbers])

    student = make_network(6, seed=1)
    table = train(
        student,
        ImageBatches(images, range(48), preprocessing=SMALL, batch_size=16),
        loss,
        epochs=40,
    )
    assert table["loss"].iloc[-1] < 0.1 * table["loss"].iloc[0]
