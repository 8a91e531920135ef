"""NT-Xent against a loop and a library; learning from images without labels."""

import numpy as np
import pytest
import torch

from cbirkit import ImageCollection, learning
from cbirkit.encoders import Deep, TinyImage
from cbirkit.learning import Augmentation, learn_contrastive, nt_xent
from cbirkit.learning.scoring import retrieval_score


def by_loop(first, second, temperature):
    rows = [row / np.linalg.norm(row) for row in np.concatenate([first, second])]
    n, total = len(first), 0.0
    for i, row in enumerate(rows):
        terms = [np.exp(row @ other / temperature) for j, other in enumerate(rows) if j != i]
        total -= np.log(np.exp(row @ rows[(i + n) % (2 * n)] / temperature) / sum(terms))
    return total / (2 * n)


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_is_what_a_loop_gives(n, temperature):
    first, second = torch.randn(2, n, 5, generator=torch.Generator().manual_seed(n))
    expected = by_loop(first.double().numpy(), second.double().numpy(), temperature)
    assert nt_xent(first, second, temperature).item() == pytest.approx(expected, abs=1e-5)


def test_nt_xent_is_that_of_the_library():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    first, second = torch.randn(2, 12, 7, generator=torch.Generator().manual_seed(0))
    theirs = losses.NTXentLoss(0.2)(torch.cat([first, second]), torch.arange(12).repeat(2))
    torch.testing.assert_close(nt_xent(first, second, 0.2), theirs)


def test_nt_xent_at_its_ends():
    same = torch.ones(4, 3)
    assert nt_xent(same, same, 0.2).item() == pytest.approx(
        np.log(7)
    )  # collapsed: 7 others, all alike
    apart = torch.eye(8)
    assert nt_xent(apart, apart, 0.001).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="both"):
        nt_xent(torch.ones(3, 2), torch.ones(2, 2))


@pytest.fixture(scope="module")
def images():
    """60 images of 6 patterns; copies of a pattern differ in brightness and noise."""
    random = np.random.RandomState(0)
    patterns = random.randint(0, 256, (6, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    arrays = [
        np.clip(
            patterns[n % 6] * random.uniform(0.5, 1.2) + random.normal(0, 10, (16, 16, 3)), 0, 255
        )
        for n in range(60)
    ]
    return ImageCollection.from_arrays([a.astype(np.uint8) for a in arrays], labels=np.arange(60) % 6)  # fmt: skip


def learn(images, **settings):
    encoder = Deep("conv5", weights=None, size=16, device="cpu")
    defaults = {"batch_size": 15, "epochs": 12, "progress": False, "learning_rate": 3e-3}
    return encoder, *learn_contrastive(encoder, images, **defaults | settings)


def test_it_learns_without_looking_at_labels(images):
    unlabelled = ImageCollection.from_arrays(list(images))
    encoder, learned, history = learn(unlabelled)
    curve = history.table
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[0] and curve["spread"].iloc[-1] > 0.5
    assert curve["found"].iloc[-1] > curve["found"].iloc[0]
    before, after = (
        retrieval_score(e.transform(images), images.labels) for e in (encoder, learned)
    )
    assert after > before + 0.05
    _, again, _ = learn(images, labels="nonsense")  # the same with labels there
    assert np.array_equal(learned.transform(images), again.transform(images))


def test_a_finished_run_is_read_from_its_checkpoint(images, tmp_path):
    _, whole, _ = learn(images, epochs=2)
    _, half, history = learn(images, epochs=2, checkpoint=tmp_path / "run")
    _, again, _ = learn(images, epochs=2, checkpoint=tmp_path / "run")
    assert len(history.table) == 2
    for other in (half, again):
        assert np.allclose(whole.transform(images), other.transform(images), atol=1e-6)


def test_validation_chooses_the_epoch(images):
    _, _, history = learn(images[:30], validation=images[30:], epochs=3)
    assert history.best_score == history.table["score"].max()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment": Augmentation(views=1)}, "two views"),
        ({"augment": None}, "two views"),
        ({"temperature": 0}, "temperature"),
        ({"batch_size": 1}, "batch_size"),
        ({"n_dims": 0}, "n_dims"),
    ],
)
def test_settings_out_of_range(images, settings, words):
    with pytest.raises(ValueError, match=words):
        learn(images, **settings)


def test_only_networks_learn(images):
    with pytest.raises(TypeError, match="Deep"):
        learn_contrastive(TinyImage(), images)
    assert learning.Contrastive().augment.views == 2


def test_tint_multiplies_each_channel_by_its_own_number():
    pixels = torch.full((50, 3, 4, 4), 0.5)
    plain = {"crop": None, "flip": 0.0, "colour": 0.0}
    made = Augmentation(**plain, tint=0.4)(pixels, torch.Generator().manual_seed(0))
    factors = made[:, :, 0, 0] / 0.5  # (50, 3)
    assert torch.equal(made, made[:, :, :1, :1].expand_as(made))
    assert (factors - 1).abs().max() <= 0.4 + 1e-6 and factors.std(dim=0).min() > 0.1
    assert factors.std(dim=1).min() > 0 and torch.equal(Augmentation(**plain)(pixels), pixels)
