"""Attacks on the kit's own encoders, beside a peer's; defences, detection and adversarial training."""

import functools

import numpy as np
import pytest
import torch
from attack_samples import Small, misranking, pixels_of

from cbirkit import attacks, learning
from cbirkit.encoders import ColorHistogram, Deep
from cbirkit.nets.extraction import EmbeddingNet, StraightThrough
from cbirkit.nets.preprocessing import Preprocessing


def smooth_images(n=4, shape=(40, 56), seed=0):
    """Blurred noise, which resizing does not alias."""
    rough = torch.rand(n, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    return attacks.to_images(
        torch.nn.functional.interpolate(rough, shape, mode="bilinear").clamp(0, 1)
    )


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("shape", [(40, 56), (32, 32), (20, 24)])
@pytest.mark.parametrize("pooling", ["default", "gem"])
def test_it_embeds_as_the_encoder_does(resize, shape, pooling):
    encoder = Deep("conv5", weights=None, size=32, resize=resize, pooling=pooling, device="cpu")
    images = smooth_images(shape=shape)
    ours = attacks.embed_pixels(attacks.attackable(encoder), attacks.to_pixels(images))
    theirs = encoder.transform(list(images))
    assert (ours * theirs).sum(axis=1).min() > 0.9999


def test_normalisation_is_inside():
    network = torch.nn.Identity()
    net = EmbeddingNet(network, Preprocessing(4, mean=(0.5, 0.25, 0), std=(0.5, 1, 2)))
    pixels = torch.rand(2, 3, 4, 4)
    expected = torch.stack(
        [(pixels[:, 0] - 0.5) / 0.5, pixels[:, 1] - 0.25, pixels[:, 2] / 2], dim=1
    ).mean(dim=(2, 3))
    assert torch.allclose(net(pixels), torch.nn.functional.normalize(expected), atol=1e-6)


def test_what_cannot_be_attacked_says_so():
    with pytest.raises(TypeError, match="queryable"):
        attacks.attackable(ColorHistogram())
    with pytest.raises(ValueError, match="one scale"):
        attacks.attackable(Deep("conv5", weights=None, scales=(1, 2)))
    with pytest.raises(ValueError, match="pad"):
        attacks.attackable(Deep("conv5", weights=None, resize="pad"))


def test_encoders_without_gradients_are_attacked_by_score():
    images = smooth_images(3, (16, 16))
    model, clean = attacks.queryable(ColorHistogram()), attacks.to_pixels(images)
    goal = attacks.Away(attacks.embed_pixels(model, clean))
    made = attacks.Square(8 / 255, steps=30)(model, clean, goal)
    assert (made.after > made.before + 0.01).all() and made.calls == 32


def test_weights_and_encoder_are_left_alone():
    encoder = Deep("conv5", weights=None, size=32, device="cpu")
    images = list(smooth_images())
    before = encoder.transform(images)
    model = attacks.attackable(encoder)
    goal = attacks.Away(attacks.embed_pixels(model, attacks.to_pixels(images)))
    attacks.PGD(0.1, steps=3)(model, attacks.to_pixels(images), goal)
    assert np.array_equal(encoder.transform(images), before)
    assert all(p.grad is None for p in model.parameters()) and not model.training


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("backbone", ["small", "conv5"])
def test_a_peers_attack_arrives_at_the_same_pixels(norm, backbone):
    """foolbox maximises the cross-entropy of two numbers, best right and best wrong cosine: uphill is the same way."""
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    if backbone == "small":
        model, clean = Small(), pixels_of()
        goal = misranking(model)
    else:
        model = attacks.attackable(Deep("conv5", weights=None, size=32, device="cpu"))
        clean = attacks.to_pixels(smooth_images(5, (32, 32)))
        database = attacks.embed_pixels(
            model, attacks.to_pixels(smooth_images(6, (32, 32), seed=4))
        )
        goal = attacks.Misrank(database, np.eye(5, 6))

    class Logits(torch.nn.Module):
        def forward(self, pixels):
            cosines = model(pixels) @ goal.database.T
            right, wrong = (
                cosines.masked_fill(~mask, -2).amax(dim=1) for mask in (goal.right, goal.wrong)
            )
            return torch.stack([right, wrong], dim=1)

    epsilon, size, steps = (8 / 255, 2 / 255, 6) if norm == "linf" else (0.5, 0.125, 6)
    peer = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    peer = peer(abs_stepsize=size, steps=steps, random_start=False)
    wrapped = foolbox.PyTorchModel(Logits().eval(), bounds=(0, 1), device="cpu")
    theirs = peer.run(
        wrapped,
        clean,
        foolbox.criteria.Misclassification(torch.zeros(5, dtype=torch.long)),
        epsilon=epsilon,
    )
    ours = attacks.PGD(epsilon, norm, steps=steps, step=size, start="clean")(model, clean, goal)
    value = goal(model(theirs)).detach().numpy()
    assert (
        np.allclose(ours.after, value, atol=2e-3 * np.ptp(ours.before) + 1e-4)
        or (ours.after >= value - 1e-5).all()
    )
    last = np.isclose(
        ours.after, value, atol=1e-5
    )  # where our best point is the last, as theirs is
    assert last.mean() >= 0.6
    near = (ours.pixels - theirs).abs()[torch.from_numpy(last)]
    assert (near < 1e-4).float().mean() > 0.99


def test_straight_through_changes_forward_only():
    pixels = torch.rand(2, 3, 4, 4, requires_grad=True)
    for gradient, expected in (("identity", 1.0), ("none", 0.0)):
        out = StraightThrough(functools.partial(attacks.bit_depth, bits=2), gradient)(pixels)
        assert torch.allclose(out, attacks.bit_depth(pixels.detach(), 2), atol=1e-6)
        assert torch.allclose(
            torch.autograd.grad(out.sum(), pixels)[0], torch.full_like(pixels, expected)
        )
    with pytest.raises(ValueError, match="identity"):
        attacks.preprocessed(Small(), attacks.jpeg, gradient="true")


def test_bit_depth_and_jpeg_change_what_they_should():
    pixels = pixels_of(2, side=16)
    levels = attacks.bit_depth(pixels, 3) * 7
    assert (
        torch.allclose(levels, levels.round(), atol=1e-5)
        and (attacks.bit_depth(pixels, 3) - pixels).abs().max() <= 1 / 14 + 1e-6
    )
    assert torch.allclose(attacks.bit_depth(pixels, 8), pixels, atol=1e-6)
    photo = attacks.to_pixels(smooth_images(2))
    good, bad = ((attacks.jpeg(photo, quality=q) - photo).abs().mean() for q in (95, 10))
    assert 0 < good < bad and attacks.jpeg(photo).shape == photo.shape


def test_a_blocked_gradient_only_looks_like_a_defence():
    model, clean = Small(), pixels_of()
    change = functools.partial(attacks.bit_depth, bits=4)
    attack = attacks.PGD(0.1, steps=10, start="clean")
    blocked, adaptive = (
        attacks.preprocessed(model, change, gradient=g) for g in ("none", "identity")
    )
    goal = misranking(adaptive)
    assert np.array_equal(attack(blocked, clean, goal).after, attack(blocked, clean, goal).before)
    assert (attack(adaptive, clean, goal).after > attack(adaptive, clean, goal).before).all()


def test_smoothing_with_no_noise_is_the_model_and_draws_follow_the_seed():
    model, clean = Small(), pixels_of()
    assert torch.allclose(attacks.smoothed(model, 0, 3)(clean), model(clean), atol=1e-6)
    one, two = (
        attacks.smoothed(model, 0.2, 4, random_state=1),
        attacks.smoothed(model, 0.2, 4, random_state=1),
    )
    first = one(clean)
    assert torch.equal(first, two(clean)) and not torch.equal(first, one(clean))
    with pytest.raises(ValueError, match="sigma"):
        attacks.smoothed(model, -1)


def test_stability_against_a_naive_loop():
    model, clean = Small(), pixels_of(4)
    database = attacks.embed_pixels(model, pixels_of(15, seed=3))
    change = functools.partial(attacks.bit_depth, bits=1)
    found = attacks.neighbour_stability(model, clean, database, change=change, k=4)
    for i in range(4):
        lists = [
            set(np.argsort(-(model(p[[i]])[0].numpy() @ database.T))[:4])
            for p in (clean, change(clean))
        ]
        assert found[i] == len(lists[0] & lists[1]) / 4
    same = attacks.neighbour_stability(model, clean, database, change=lambda p: p, k=4)
    assert same.tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"k .* 15"):
        attacks.neighbour_stability(model, clean, database, k=16)


def test_adversarial_loss_trains_on_harder_images_within_the_bound():
    seen = []

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.line = torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 2)

        def forward(self, pixels):
            seen.append((self.training, pixels.detach().clone()))
            return self.line(self.norm(pixels).mean(dim=(2, 3)))

    def loss(network, batch):
        return torch.nn.functional.cross_entropy(network(batch[0]), batch[1]), {"one": 1.0}

    torch.manual_seed(0)
    network, batch = Net().train(), (pixels_of(8), torch.arange(8) % 2)
    value, numbers = attacks.adversarial_loss(loss, epsilon=0.1, steps=4)(network, batch)
    assert (
        [training for training, _ in seen] == [False] * 4 + [True]
        and network.training
        and numbers == {"one": 1.0}
    )
    assert network.norm.num_batches_tracked == 1  # crafting left the running averages alone
    change = (seen[-1][1] - batch[0]).abs().max()
    assert 0.05 < change <= 0.1 + 1e-6 and seen[-1][1].min() >= 0 and seen[-1][1].max() <= 1
    network.eval()
    assert loss(network, (seen[-1][1], batch[1]))[0] > loss(network, (seen[0][1], batch[1]))[0]
    value.backward()
    assert network.line.weight.grad is not None
    with pytest.raises(ValueError, match="let the network normalise"):
        attacks.adversarial_loss(loss)(network, (batch[0] - 0.5, batch[1]))


def test_adversarial_training_makes_a_network_harder_to_attack():
    """Two features tell the classes apart: a strong one, and a weak one that small changes turn round."""
    draw = np.random.default_rng(0)
    targets = torch.from_numpy(draw.integers(0, 2, 256))
    pixels = torch.full((256, 3, 2, 2), 0.5)
    honest = torch.from_numpy(np.where(draw.random(256) < 0.85, 1.0, -1.0))
    pixels[:, 0] += (0.25 * (2 * targets - 1) * honest)[:, None, None].float()
    pixels[:, 1:] += (0.02 * (2 * targets - 1))[:, None, None, None].float()

    def loss(network, batch):
        return torch.nn.functional.cross_entropy(network(batch[0].flatten(1) - 0.5), batch[1])

    right = {}
    for name, one in (
        ("plain", loss),
        ("defended", attacks.adversarial_loss(loss, epsilon=0.05, steps=2)),
    ):
        torch.manual_seed(0)
        network = torch.nn.Linear(12, 2)
        batches = list(zip(pixels.split(64), targets.split(64), strict=True))
        learning.train(
            network,
            batches,
            one,
            epochs=60,
            learning_rate=0.3,
            device="cpu",
            progress=False,
            weight_decay=0.0,
        )
        at = pixels.clone().requires_grad_(True)
        loss(network, (at, targets)).backward()
        attacked = pixels + 0.05 * at.grad.sign()
        right[name] = (
            (network(attacked.flatten(1) - 0.5).argmax(dim=1) == targets).float().mean().item()
        )
    assert right["defended"] > right["plain"] + 0.2, right
