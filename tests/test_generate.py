"""The small GAN and the measures of its samples, against naive loops."""

import itertools
import pickle

import numpy as np
import pytest
import torch

from cbirkit import generate


def pictures(n=40, n_classes=3, seed=0):
    random = np.random.RandomState(seed)
    classes = np.arange(n) % n_classes
    rows = 0.2 * random.rand(n, 16) + 0.8 * np.eye(16)[classes]
    return np.clip(rows, 0, 1).astype(np.float32), classes


def small(**changes):
    return generate.GAN(3, **({"batch_size": 8, "n_latent": 4} | changes))


def weights(gan):
    parts = (gan.generator_, gan.discriminator_, gan.average_)
    return torch.cat([v.flatten().float() for part in parts for v in part.state_dict().values()])


# ------------------------------------------------------------------ training


def test_hinge_by_loop():
    real, fake = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    by_loop = sum(max(0, 1 - r) for r in real.tolist()) / 9
    by_loop += sum(max(0, 1 + f) for f in fake.tolist()) / 9
    ours, generator = generate.hinge(real, fake)
    assert ours.item() == pytest.approx(by_loop)
    assert generator.item() == pytest.approx(-np.mean(fake.tolist()))


def test_layers_of_the_discriminator_have_spectral_norm_one():
    gan = small().train(*pictures(), until=40)
    layer = gan.discriminator_.features[0]
    assert torch.linalg.matrix_norm(layer.weight, ord=2).item() == pytest.approx(1, abs=0.1)


def test_it_learns_what_the_classes_look_like():
    rows, classes = pictures(60)
    gan = small(learning_rate=3e-3, batch_size=32).train(rows, classes, until=400)
    made = gan.sample(classes)
    assert (
        made.shape == (60, 16) and made.dtype == np.float32 and 0 <= made.min() <= made.max() <= 1
    )
    nearest = [np.argmin(((one - rows) ** 2).sum(axis=1)) for one in made]
    assert (classes[nearest] == classes).mean() > 0.9


def test_calls_go_on_and_the_same_call_again_does_nothing():
    once, twice = small().train(*pictures(), until=6), small().train(*pictures(), until=4)
    twice.train(*pictures(), until=6).train(*pictures(), until=6)
    assert torch.equal(weights(once), weights(twice)) and once.losses_ == twice.losses_
    assert len(once.losses_) == once.step_ == 6


def test_a_run_is_gone_on_with_from_its_checkpoint(tmp_path):
    whole = small().train(*pictures(), until=6)
    small().train(*pictures(), until=4, checkpoint=tmp_path / "run.pt")
    resumed = small().train(*pictures(), until=6, checkpoint=tmp_path / "run.pt")
    assert torch.equal(weights(whole), weights(resumed)) and resumed.losses_ == whole.losses_
    for changed in (small(random_state=1), small(learning_rate=1e-4)):
        with pytest.raises(ValueError, match="other settings"):
            changed.train(*pictures(), until=6, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="other settings"):
        small().train(*pictures(seed=1), until=6, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize("damaged", [b"", b"PK", "cut", "pickle", "another dict"])
def test_a_damaged_checkpoint_is_told_of(tmp_path, damaged):
    file = tmp_path / "run.pt"
    small().train(*pictures(), until=2, checkpoint=file)
    if damaged == "cut":
        damaged = file.read_bytes()[:-200]
    if damaged == "pickle":
        damaged = pickle.dumps(print)
    if damaged == "another dict":
        torch.save({"step": 3}, file)
    else:
        file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"run\.pt.*cannot be read as the checkpoint"):
        small().train(*pictures(), until=4, checkpoint=file)


def test_training_leaves_the_random_numbers_of_torch_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    small().train(*pictures(), until=2)
    assert torch.equal(torch.rand(1), expected)


def test_a_rare_class_is_seen_as_often():
    rows, _ = pictures(40)
    classes = np.array([0] * 38 + [1, 2])
    shown, gan = [], small(batch_size=30)
    gan.train(rows, classes, until=1)
    gan.discriminator_.register_forward_pre_hook(lambda module, given: shown.append(given[1]))
    gan.train(rows, classes, until=11)
    counts = np.bincount(torch.cat(shown).numpy(), minlength=3)
    assert counts.min() > 0.25 * counts.sum()


def test_a_generator_is_saved_as_half_precision(tmp_path):
    gan = small().train(*pictures(), until=3)
    gan.save(tmp_path / "g.safetensors")
    loaded = small().load(tmp_path / "g.safetensors")
    assert np.allclose(gan.sample([0, 1, 2]), loaded.sample([0, 1, 2]), atol=2e-3)
    with pytest.raises(ValueError, match="do not fit"):
        generate.GAN(4, n_latent=4).load(tmp_path / "g.safetensors")


def test_the_same_noise_gives_the_same_picture():
    gan, noise = small().train(*pictures(), until=3), np.ones((2, 4))
    first, second = gan.sample([1, 1], noise=noise)
    assert np.array_equal(first, second)
    assert not np.array_equal(*gan.sample([1, 2], noise=noise))
    assert not np.array_equal(gan.sample([1]), gan.sample([1], random_state=1))


@pytest.mark.parametrize(
    ("rows", "classes", "words"),
    [
        (np.zeros(16), [0], "as rows"),
        (np.zeros((0, 16)), [], "as rows"),
        (np.full((4, 16), 2.0), [0, 1, 2, 0], "between 0 and 1"),
        (np.full((4, 16), np.nan), [0, 1, 2, 0], "between 0 and 1"),
        (np.zeros((4, 16)), [0, 1, 2], "one whole number"),
        (np.zeros((4, 16)), [0, 1, 2, 3], "one whole number"),
    ],
)
def test_what_does_not_fit_is_refused(rows, classes, words):
    with pytest.raises(ValueError, match=words):
        small().train(rows, classes, until=1)


def test_nothing_to_sample_from():
    with pytest.raises(ValueError, match="train"):
        small().sample([0])
    with pytest.raises(ValueError, match="between 0 and 2"):
        small().train(*pictures(), until=1).sample([3])


# ------------------------------------------------------------------ measures


def radii_by_loop(features, k):
    found = []
    for i, row in enumerate(features):
        others = sorted(np.linalg.norm(row - other) for j, other in enumerate(features) if j != i)
        found.append(others[min(k, len(others)) - 1])
    return np.array(found)


def precision_by_loop(real, samples, k):
    balls, inside = radii_by_loop(real, k), 0
    for sample in samples:
        inside += any(np.linalg.norm(sample - row) <= r for row, r in zip(real, balls, strict=True))
    return inside / len(samples)


def copying_by_loop(train, held_out, samples):
    score = 0
    for a, b in itertools.product(samples, held_out):
        mine, other = (min(np.linalg.norm(one - row) for row in train) for one in (a, b))
        score += (mine < other) + 0.5 * (mine == other)
    return score / (len(samples) * len(held_out))


@pytest.mark.parametrize("k", [1, 2, 3, 50])
def test_radii_and_precision_by_loops(k):
    random = np.random.RandomState(k)
    real, samples = random.randn(12, 3), 1.3 * random.randn(15, 3)
    real[3] = real[4]  # copies count as neighbours
    assert np.allclose(generate.radii(real, k), radii_by_loop(real, k))
    assert generate.precision(real, samples, k) == pytest.approx(
        precision_by_loop(real, samples, k)
    )


def test_precision_at_the_edge_of_a_ball_and_of_nothing():
    real = np.array([[0.0], [1.0]])
    assert generate.precision(real, np.array([[2.0], [-1.0], [2.1], [0.5]]), k=1) == 0.75
    assert np.isnan(generate.precision(real, np.empty((0, 1))))
    assert generate.precision(real, real, k=1) == 1
    with pytest.raises(ValueError, match="two rows"):
        generate.precision(real[:1], real)
    with pytest.raises(ValueError, match="k must"):
        generate.precision(real, real, k=0)


def test_copying_by_loop():
    random = np.random.RandomState(0)
    train, held_out, samples = (
        random.randint(0, 4, (8, 2)),
        random.randint(0, 4, (6, 2)),
        random.randint(0, 4, (7, 2)),
    )
    assert generate.copying(train, held_out, samples) == pytest.approx(
        copying_by_loop(train, held_out, samples)
    )
    assert generate.copying(train, held_out, held_out) == 0.5
    for empty in itertools.permutations([train, held_out, samples[:0]]):
        assert np.isnan(generate.copying(*empty))
