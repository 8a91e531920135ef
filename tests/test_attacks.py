"""Attacks by gradient and by score: bounds to the bit, against naive loops, monotone, the same in any batch."""

import itertools

import numpy as np
import pytest
import torch
from attack_samples import Small, misranking, pixels_of

from cbirkit import attacks
from cbirkit.attacks.perturbations import Ball, value_and_gradient

EPSILONS = (1 / 255, 8 / 255, 0.3, 1.0)
LINF = {
    "FGSM": attacks.FGSM,
    "PGD": attacks.PGD,
    "noise": attacks.Noise,
    "square": lambda epsilon: attacks.Square(epsilon, steps=20),
}


@pytest.fixture(scope="module")
def model():
    return Small()


@pytest.mark.parametrize("name", LINF)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_no_pixel_changes_by_more_than_epsilon_and_all_stay_in_range(model, name, epsilon):
    clean = pixels_of()
    made = LINF[name](epsilon)(model, clean, misranking(model))
    change = made.pixels.double() - clean.double()
    assert change.abs().max() <= epsilon  # to the bit, not to a tolerance
    assert made.pixels.min() >= 0 and made.pixels.max() <= 1 and made.pixels.dtype == torch.float32
    assert change.abs().max() > 0.5 * epsilon


@pytest.mark.parametrize("start", ["random", "clean"])
@pytest.mark.parametrize("epsilon", [0.05, 0.5, 20.0])
def test_no_change_is_longer_than_epsilon_in_l2(model, start, epsilon):
    clean = pixels_of()
    made = attacks.PGD(epsilon, "l2", start=start)(model, clean, misranking(model))
    long = (made.pixels.double() - clean.double()).flatten(1).norm(dim=1)
    assert (long <= epsilon).all() and (long > 0).any()
    assert made.pixels.min() >= 0 and made.pixels.max() <= 1


@pytest.mark.parametrize(
    "attack",
    [
        attacks.FGSM(0),
        attacks.PGD(0),
        attacks.PGD(0, "l2"),
        attacks.Noise(0),
        attacks.Square(0, steps=5),
    ],
)
def test_epsilon_zero_is_the_identity_to_the_bit(model, attack):
    clean = pixels_of()
    made = attack(model, clean, misranking(model))
    assert torch.equal(made.pixels, clean) and made.pixels is not clean
    assert np.array_equal(made.before, made.after) and made.largest.max() == 0
    assert torch.equal(attacks.perturbed(clean, torch.ones(1, 3, 6, 6), 0), clean)
    assert attacks.Universal(0).fit(model, clean, misranking(model)).abs().max() == 0


def test_steps_zero_changes_nothing(model):
    made = attacks.PGD(0.1, steps=0)(model, pixels_of(), misranking(model))
    assert torch.equal(made.pixels, pixels_of())


def test_projection_agrees_with_naive_loops():
    draw = np.random.default_rng(3)
    clean = pixels_of(4)
    moved = clean + torch.from_numpy(draw.normal(0, 0.4, clean.shape)).float()
    for epsilon in (0.1, 0.7):
        cube, round_ = (
            Ball(clean, epsilon, norm).project(moved).numpy() for norm in ("linf", "l2")
        )
        for x, y, square, ball in zip(clean.numpy(), moved.numpy(), cube, round_, strict=True):
            naive = [
                min(max(b, max(a - epsilon, 0)), min(a + epsilon, 1))
                for a, b in zip(x.ravel(), y.ravel(), strict=True)
            ]
            assert np.allclose(square.ravel(), naive, atol=1e-6)
            length = (
                sum(float(b - a) ** 2 for a, b in zip(x.ravel(), y.ravel(), strict=True)) ** 0.5
            )
            scale = min(1.0, epsilon / length)
            naive = [
                min(max(a + scale * (b - a), 0), 1)
                for a, b in zip(x.ravel(), y.ravel(), strict=True)
            ]
            assert np.allclose(ball.ravel(), naive, atol=3e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_inside_is_not_moved(norm):
    clean = pixels_of(2)
    inside = (clean + 0.01).clamp(0, 1)
    assert torch.allclose(
        Ball(clean, 5 if norm == "l2" else 0.1, norm).project(inside), inside, atol=1e-7
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_is_the_naive_loop(model, norm):
    clean, goal, epsilon, size = pixels_of(3), misranking(model, 3), 0.1, 0.03
    made = attacks.PGD(epsilon, norm, steps=4, step=size, start="clean")(model, clean, goal)
    for i in range(3):
        one, best = goal.rows([i]), (goal.rows([i])(model(clean[[i]])).item(), clean[i])
        x = clean[[i]].clone()
        for _ in range(4):
            x.requires_grad_(True)
            one(model(x)).sum().backward()
            way = x.grad.sign() if norm == "linf" else x.grad / x.grad.norm()
            change = x.detach() + size * way - clean[[i]]
            change = (
                change.clamp(-epsilon, epsilon)
                if norm == "linf"
                else change * min(1, epsilon / change.norm())
            )
            x = (clean[[i]] + change).clamp(0, 1)
            best = max(best, (one(model(x)).item(), x[0]), key=lambda pair: pair[0])
        assert made.after[i] == pytest.approx(best[0], abs=1e-4)
        assert torch.allclose(made.pixels[i], best[1], atol=1e-4)


def test_fgsm_is_one_step_along_the_sign_of_the_gradient(model):
    clean, goal = pixels_of(), misranking(model)
    gradient = value_and_gradient(model, clean, goal)[1]
    expected = (clean + 0.02 * gradient.sign()).clamp(0, 1)
    made = attacks.FGSM(0.02)(model, clean, goal)
    risen = goal(model(expected)) > goal(model(clean))
    assert risen.any() and torch.allclose(made.pixels[risen], expected[risen], atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("start", ["clean", "random"])
def test_more_steps_are_never_weaker_and_nothing_is_weaker_than_the_image(model, norm, start):
    found = [
        attacks.PGD(0.2, norm, steps=steps, start=start)(model, pixels_of(), misranking(model))
        for steps in (1, 2, 5, 20)
    ]
    assert (found[0].after >= found[0].before).all() and (found[-1].after > found[0].before).all()
    for fewer, more in itertools.pairwise(found):
        assert (more.after >= fewer.after).all()


def test_reported_objective_is_that_of_the_returned_pixels(model):
    goal = misranking(model)
    for attack in (
        attacks.PGD(0.1),
        attacks.FGSM(0.1),
        attacks.Square(0.1, steps=30),
        attacks.Noise(0.1),
    ):
        made = attack(model, pixels_of(), goal)
        assert np.allclose(goal(model(made.pixels)).numpy(), made.after, atol=1e-6)
        assert np.allclose(goal(model(pixels_of())).numpy(), made.before, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [attacks.PGD(0.1), attacks.PGD(0.5, "l2"), attacks.Square(0.1, steps=20), attacks.Noise(0.1)],
)
def test_an_image_fares_the_same_in_any_batch(model, attack):
    clean, goal = pixels_of(), misranking(model)
    together = attack(model, clean, goal)
    small = attack(model, clean, goal, batch_size=2)
    alone = attack(model, clean[[3]], goal.rows([3]))
    assert torch.allclose(together.pixels, small.pixels, atol=1e-5)
    assert torch.allclose(together.pixels[[3]], alone.pixels, atol=1e-5)
    assert together.after[3] == pytest.approx(alone.after[0], abs=1e-5)


def test_random_starts_follow_the_seed(model):
    one, two, again = (
        attacks.PGD(0.1, steps=1)(model, pixels_of(), misranking(model), random_state=s)
        for s in (0, 1, 0)
    )
    assert torch.equal(one.pixels, again.pixels) and not torch.equal(one.pixels, two.pixels)


def test_away_needs_a_start_that_is_not_the_top_of_the_hill(model):
    clean = pixels_of()
    away = attacks.Away(attacks.embed_pixels(model, clean))
    gradient = value_and_gradient(model, clean, away)[1]
    assert gradient.abs().max() < 1e-6
    made = attacks.PGD(0.2)(model, clean, away)
    assert (made.after > 0.005).all() and np.allclose(made.before, 0, atol=1e-6)


def test_towards_brings_an_image_to_a_chosen_one_and_an_item_up_or_down(model):
    clean, target = pixels_of(2), attacks.embed_pixels(model, pixels_of(1, seed=9))
    made = attacks.PGD(1.0, steps=60, step=0.1)(model, clean, attacks.Towards(target))
    assert (made.after > made.before).all() and made.after.min() > 0.95
    queries = attacks.embed_pixels(model, pixels_of(4, seed=5))
    item = clean[:1]
    for goal, sign in ((attacks.Towards(queries[None]), 1), (attacks.Away(queries[None]), -1)):
        moved = attacks.PGD(0.2)(model, item, goal)
        change = (
            attacks.embed_pixels(model, moved.pixels) - attacks.embed_pixels(model, item)
        ) @ queries.T
        assert sign * change.mean() > 1e-4


def test_misrank_is_positive_exactly_where_the_first_result_is_wrong(model):
    draw = np.random.default_rng(0)
    database, rows = draw.normal(size=(9, 4)), draw.normal(size=(30, 4))
    gains, junk = draw.random((30, 9)) < 0.4, draw.random((30, 9)) < 0.2
    gains[:, 0], junk[:, 0], gains[:, 1], junk[:, 1] = True, False, False, False
    values = attacks.Misrank(database, gains, junk)(
        torch.nn.functional.normalize(torch.from_numpy(rows).float())
    ).numpy()
    for i, row in enumerate(rows):
        cosines = {
            j: row @ d / np.linalg.norm(row) / np.linalg.norm(d)
            for j, d in enumerate(database)
            if not junk[i, j]
        }
        first = max(cosines, key=cosines.get)
        assert (values[i] > 0) == (not gains[i, first])
        best = [
            max(c for j, c in cosines.items() if gains[i, j] == right) for right in (False, True)
        ]
        assert values[i] == pytest.approx(best[0] - best[1], abs=1e-5)


def test_an_unbounded_attack_breaks_everything(model):
    goal = misranking(model)
    made = attacks.PGD(1.0, steps=200, step=0.05)(model, pixels_of(), goal)
    assert (made.after > 0).all()


def test_score_alone_raises_the_objective_more_than_noise(model):
    goal = misranking(model)
    square, noise, pgd = (
        attack(model, pixels_of(), goal).after.mean()
        for attack in (
            attacks.Square(0.1, steps=200),
            attacks.Noise(0.1),
            attacks.PGD(0.1, steps=40),
        )
    )
    assert noise < square <= pgd + 0.02


def test_universal_perturbation_is_one_for_all_and_helps_on_images_not_seen(model):
    goal = attacks.Towards(attacks.embed_pixels(model, pixels_of(1, seed=9)))
    change = attacks.Universal(0.1, epochs=20).fit(model, pixels_of(20), goal)
    assert change.shape == (1, 3, 6, 6) and change.abs().max() <= 0.1
    fresh = pixels_of(10, seed=77)
    moved = attacks.perturbed(fresh, change, 0.1)
    assert (moved - fresh).abs().max() <= 0.1
    assert goal(model(moved)).mean() > goal(model(fresh)).mean() + 0.01


def test_rounded_to_a_file_the_bound_still_holds(model):
    clean = pixels_of()
    made = attacks.PGD(3 / 255)(model, clean, misranking(model))
    before, after = attacks.to_images(clean).astype(int), made.images.astype(int)
    assert np.abs(after - before).max() == 3 and made.images.dtype == np.uint8


BAD = {
    "grey image": (lambda: attacks.to_pixels([np.zeros((4, 4), np.uint8)]), "RGB uint8"),
    "RGBA image": (lambda: attacks.to_pixels([np.zeros((4, 4, 4), np.uint8)]), "RGB uint8"),
    "float image": (lambda: attacks.to_pixels([np.zeros((4, 4, 3))]), "RGB uint8"),
    "two sizes": (
        lambda: attacks.to_pixels([np.zeros((4, n, 3), np.uint8) for n in (4, 5)]),
        "differ in size",
    ),
    "no image": (lambda: attacks.to_pixels([]), "at least one"),
    "grey levels": (lambda: attacks.PGD(8), "8 / 255"),
    "negative": (lambda: attacks.FGSM(-0.1), "epsilon"),
    "NaN": (lambda: attacks.Noise(float("nan")), "epsilon"),
    "text": (lambda: attacks.Square("8"), "epsilon"),
    "norm": (lambda: attacks.PGD(0.1, "l1"), "linf"),
    "steps": (lambda: attacks.PGD(0.1, steps=-1), "steps"),
    "half a step": (lambda: attacks.PGD(0.1, steps=1.5), "steps"),
    "step": (lambda: attacks.PGD(0.1, step=0), "step"),
    "start": (lambda: attacks.PGD(0.1, start="warm"), "start"),
    "no right item": (lambda: attacks.Misrank(np.eye(3), np.zeros((2, 3))), "right and a wrong"),
    "no wrong item": (lambda: attacks.Misrank(np.eye(3), np.ones((2, 3))), "right and a wrong"),
    "gains of another database": (lambda: attacks.Misrank(np.eye(3), np.eye(2)), "shape"),
    "embeddings that are not finite": (lambda: attacks.Away([[np.nan, 1.0]]), "finite"),
    "one vector": (lambda: attacks.Away([1.0, 2.0]), "one a row"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_a_sentence(name):
    action, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        action()


@pytest.mark.parametrize(
    "attack", [attacks.PGD(0.1), attacks.FGSM(0.1), attacks.Square(0.1), attacks.Noise(0.1)]
)
@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (torch.zeros(1, 1, 6, 6), "tensor"),
        (torch.zeros(3, 6, 6), "tensor"),
        (np.zeros((1, 3, 6, 6)), "tensor"),
        (torch.zeros(0, 3, 6, 6), "at least one"),
        (torch.full((1, 3, 6, 6), 128.0), "normalise"),
        (torch.full((1, 3, 6, 6), -0.5), "normalise"),
        (torch.full((1, 3, 6, 6), float("nan")), "floats in"),
        (torch.zeros(1, 3, 6, 6, dtype=torch.uint8), "floats in"),
    ],
)
def test_what_are_no_pixels_is_refused(model, attack, pixels, words):
    with pytest.raises(ValueError, match=words):
        attack(model, pixels, attacks.Away([[1.0] * 6]))


def test_an_objective_for_other_images_is_refused(model):
    with pytest.raises(ValueError, match="objective is for 5"):
        attacks.PGD(0.1)(model, pixels_of(3), misranking(model, 5))
    with pytest.raises(ValueError, match="objective is for 5"):
        attacks.Universal(0.1).fit(model, pixels_of(3), misranking(model, 5))
    with pytest.raises(ValueError, match="perturbation is for"):
        attacks.perturbed(pixels_of(2), torch.zeros(1, 3, 7, 7), 0.1)
