"""Batches of images: what is in them, in which order, and what augmentation does to them."""

import copy
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from cbirkit import ImageCollection, learning
from cbirkit.learning import Augmentation, ClassBalanced, ImageBatches, InOrder, Shuffled
from cbirkit.nets.preprocessing import Preprocessing

SMALL = Preprocessing(size=16)


@pytest.fixture(scope="module")
def images():
    """30 images of 3 classes, not all of one size."""
    random = np.random.RandomState(0)
    arrays = [random.randint(0, 256, (20 + n % 3, 24, 3)).astype(np.uint8) for n in range(30)]
    return ImageCollection.from_arrays(arrays, labels=np.repeat(["cat", "ant", "bee"], 10))


@pytest.fixture
def folder(tmp_path):
    """12 files, two of which cannot be read."""
    random = np.random.RandomState(0)
    for number in range(12):
        path = tmp_path / f"{number:02d}.png"
        Image.fromarray(random.randint(0, 256, (20, 24, 3)).astype(np.uint8)).save(path)
        if number in (3, 7):
            path.write_bytes(path.read_bytes()[:60])
    return ImageCollection.from_folder(tmp_path).with_columns(label=np.arange(12) % 2)


def listed(batches, epoch=0):
    return [(x.clone(), y.tolist()) for x, y in batches.epoch(epoch)]


def equal(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, c) and b == d for (a, b), (c, d) in zip(first, second, strict=True)
    )


# ---------------------------------------------------------------------- what is in them


def test_pixels_are_those_of_the_preprocessing_and_labels_go_along(images):
    batches = ImageBatches(images, labels=range(30), preprocessing=SMALL, batch_size=7)
    assert len(batches) == 4
    seen = []
    for x, y in batches:
        assert x.dtype == torch.float32 and y.dtype == torch.int64 and x.shape == (7, 3, 16, 16)
        assert torch.equal(x, SMALL([images[i] for i in y.tolist()]))
        seen += y.tolist()
    assert len(set(seen)) == 28


def test_classes_are_numbered_in_their_order(images):
    batches = ImageBatches(images, preprocessing=SMALL, sampler=InOrder(30))
    assert batches.classes.tolist() == ["ant", "bee", "cat"]
    ((_, y),) = batches
    assert y.tolist() == [2] * 10 + [0] * 10 + [1] * 10
    by_column = ImageBatches(
        images.with_columns(other=np.arange(30) % 2),
        "other",
        preprocessing=SMALL,
        sampler=InOrder(30),
    )
    assert by_column.targets.tolist() == [0, 1] * 15
    mixed = ImageBatches(
        images, [None if i < 0 else (1 if i % 2 else "a") for i in range(30)], preprocessing=SMALL
    )
    assert sorted(mixed.classes.tolist()) == ["1", "a"]


@pytest.mark.parametrize("augment", [None, Augmentation(rotate=20, grey=0.3)])
def test_kept_and_read_ahead_give_the_same(images, augment):
    kept, read = (
        ImageBatches(images, preprocessing=SMALL, batch_size=8, augment=augment, memory=memory)
        for memory in (2.0, 0)
    )
    assert equal(listed(kept, 3), listed(read, 3))


@pytest.mark.parametrize("memory", [2.0, 0])
def test_an_epoch_is_a_function_of_its_number(images, memory):
    def make(seed=0):
        return ImageBatches(
            images,
            preprocessing=SMALL,
            batch_size=8,
            augment=Augmentation(),
            random_state=seed,
            memory=memory,
        )

    batches = make()
    second = listed(batches, 2)
    listed(batches, 5)
    assert equal(second, listed(batches, 2)) and equal(second, listed(make(), 2))
    assert not equal(second, listed(batches, 3)) and not equal(second, listed(make(seed=1), 2))
    both = [list(batches), list(batches)]
    assert [x[1].tolist() for x in both[0]] != [
        x[1].tolist() for x in both[1]
    ]  # iterating goes from epoch to epoch


def test_no_more_is_kept_than_was_allowed(images):
    bytes_needed = 30 * 16 * 16 * 3
    just, less = (
        ImageBatches(images, preprocessing=SMALL, memory=size / 1e9)
        for size in (bytes_needed, bytes_needed - 1)
    )
    len(just), len(less)
    assert just._pixels.nbytes == bytes_needed and less._pixels is None


def test_pixels_are_decoded_once(images):
    read = []

    def decode(row):
        read.append(row)
        return images[row]

    counted = ImageCollection.from_function(decode, images.table, key="x", name="counted")
    for memory, times in ((2.0, 1), (0, 2)):
        batches = ImageBatches(counted, preprocessing=SMALL, batch_size=30, memory=memory)
        listed(batches, 0), listed(batches, 1)
        assert sorted(read) == sorted(list(range(30)) * times)
        read.clear()


@pytest.mark.parametrize("memory", [2.0, 0])
def test_broken_images_are_named_and_left_out(folder, memory, caplog):
    batches = ImageBatches(
        folder, labels=range(12), preprocessing=SMALL, batch_size=4, memory=memory
    )
    with caplog.at_level(logging.WARNING):
        seen = [y for epoch in (0, 1) for x, ys in listed(batches, epoch) for y in ys]
    assert not {3, 7} & set(seen) and len(seen) == (16 if memory else 20)
    assert sorted(batches.problems["name"]) == ["03.png", "07.png"]
    assert len(caplog.records) == 2 and "cannot be read and is left out" in caplog.text
    assert len(batches) == (2 if memory else 3)


@pytest.mark.parametrize("memory", [2.0, 0])
def test_a_training_goes_on_over_broken_images(folder, memory):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))

    def loss(network, batch):
        return torch.nn.functional.cross_entropy(network(batch[0]), batch[1])

    batches = ImageBatches(folder, preprocessing=SMALL, batch_size=2, memory=memory)
    history = learning.train(network, batches, loss, epochs=3, progress=False)
    assert history.stopped == "finished" and len(history.table) == 3


def test_an_abandoned_epoch_leaves_no_thread_behind(images):
    import threading

    batches = ImageBatches(images, preprocessing=SMALL, batch_size=2, memory=0)
    for _ in batches.epoch(0):
        break
    next(iter(batches.epoch(1)))
    assert not [thread for thread in threading.enumerate() if thread.name == "cbirkit-reader"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"labels": ["a"] * 29}, "got 29 labels for 30"),
        ({"labels": ["a"] * 28 + [None, None]}, "2 of 30 images have no label, the first is '28'"),
        ({"labels": [float("nan")] + [1.0] * 29}, "1 of 30 images have no label, the first is '0'"),
        ({"labels": "species"}, "has no column 'species' to train on"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"memory": -1}, "memory"),
    ],
)
def test_what_is_refused(images, change, words):
    with pytest.raises(ValueError, match=words):
        ImageBatches(images, **{"preprocessing": SMALL, **change})


def test_no_images_no_labels_nothing_readable(images, tmp_path):
    with pytest.raises(ValueError, match="there is no image"):
        ImageBatches(images[:0], preprocessing=SMALL)
    with pytest.raises(
        ValueError, match=r"no column 'label' to train on; pass labels=.*range\(len\(images\)\)"
    ):
        ImageBatches([images[0]], preprocessing=SMALL)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    with pytest.raises(ValueError, match="none of the 1 images can be used; the first, 'a.png'"):
        len(ImageBatches(ImageCollection.from_folder(tmp_path), [0], preprocessing=SMALL))


# ---------------------------------------------------------------------- samplers


def draw(sampler, targets, seed=0):
    return sampler.epoch(np.asarray(targets), np.random.RandomState(seed))


def long(sampler, targets, n_batches=60):
    """The batches of a long epoch."""
    sampler = copy.copy(sampler)
    object.__setattr__(sampler, "n_batches", lambda targets: n_batches)
    return draw(sampler, targets)


def test_shuffled_uses_each_image_once():
    batches = draw(Shuffled(4), np.zeros(13))
    assert [len(batch) for batch in batches] == [4, 4, 4] and len(
        set(np.concatenate(batches))
    ) == 12
    assert [len(batch) for batch in draw(Shuffled(64), np.zeros(13))] == [13]
    assert Shuffled(4).n_batches(np.zeros(0)) == 0 and draw(Shuffled(4), np.zeros(0)) == []


def test_in_order():
    assert [batch.tolist() for batch in draw(InOrder(4), np.zeros(9))] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8],
    ]
    assert InOrder(4).n_batches(np.zeros(8)) == 2 and draw(InOrder(4), np.zeros(0)) == []


def test_class_balanced_batches_hold_p_classes_of_k_images():
    targets = np.random.RandomState(1).permutation(np.repeat(np.arange(6), [4, 9, 12, 5, 30, 40]))
    sampler = ClassBalanced(4, 3)
    batches = draw(sampler, targets)
    assert len(batches) == sampler.n_batches(targets) == 100 // 12
    for batch in batches:
        classes, counts = np.unique(targets[batch], return_counts=True)
        assert len(classes) == 4 and set(counts) == {3} and len(set(batch)) == 12
    drawn = np.bincount(
        [c for batch in long(ClassBalanced(4, 3), targets) for c in targets[batch[::3]]]
    )
    assert drawn.max() - drawn.min() <= 1  # classes take turns, however large they are
    uses = np.bincount(np.concatenate(long(ClassBalanced(6, 3), targets)), minlength=100)
    for c in range(6):
        assert np.ptp(uses[targets == c]) <= 1  # and so do the images of a class


def test_class_balanced_with_small_classes():
    targets = [0, 0, 1, 1, 1, 2]
    for batch in long(ClassBalanced(2, 4), targets):
        found = [targets[i] for i in batch]
        assert (
            sorted(set(found)) == [0, 1] and found.count(0) == 4
        )  # repeats; the single image of class 2 is left out
        assert set(batch[np.array(found) == 0]) == {0, 1}
    assert {targets[i] for batch in long(ClassBalanced(3, 1), targets) for i in batch} == {0, 1, 2}
    with pytest.raises(ValueError, match="n_classes=3 exceeds the 2 classes"):
        draw(ClassBalanced(3, 2), targets)
    with pytest.raises(ValueError, match="exceeds the 0 classes"):
        draw(ClassBalanced(2, 2), [0, 1, 2])
    with pytest.raises(ValueError, match="n_per_class must be a whole number"):
        ClassBalanced(2, 0)


def test_class_balanced_over_images(images):
    batches = ImageBatches(images, preprocessing=SMALL, sampler=ClassBalanced(3, 2))
    assert len(batches) == 5
    assert all(np.bincount(y.tolist()).tolist() == [2, 2, 2] for _, y in batches)


# ---------------------------------------------------------------------- augmentation


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(6, 3, 20, 30, generator=torch.Generator().manual_seed(0))


NOTHING = {"crop": None, "flip": 0, "colour": 0}


def augmented(pixels, seed=0, **settings):
    return Augmentation(**{**NOTHING, **settings})(pixels, torch.Generator().manual_seed(seed))


def test_nothing_changes_nothing(pixels):
    assert torch.equal(augmented(pixels), pixels)


@pytest.mark.parametrize(
    "change", [{"crop": (0.3, 0.9)}, {"rotate": 30}, {"flip": 0.5}, {"colour": 0.4}, {"grey": 0.5}]
)
def test_each_change_is_random_by_its_seed_and_stays_in_range(pixels, change):
    before = pixels.clone()
    first, again, other = (augmented(pixels, seed, **change) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (
        first.shape == pixels.shape
        and first.dtype == torch.float32
        and 0 <= first.min()
        and first.max() <= 1
    )
    assert torch.equal(pixels, before)  # the batch that came in is not written to


def test_flips_move_pixels_exactly(pixels):
    flipped = augmented(pixels, flip=1.0)
    assert torch.equal(flipped, pixels.flip(-1))
    some = augmented(pixels, flip=0.5)
    assert all(
        torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in zip(some, pixels, strict=True)
    )


def test_an_interpolation_without_change_is_the_image(pixels):
    torch.testing.assert_close(augmented(pixels, rotate=1e-9), pixels, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        augmented(pixels, rotate=1e-9, flip=1.0), pixels.flip(-1), atol=1e-5, rtol=0
    )


def test_a_crop_shows_a_part_of_the_image_with_its_sides():
    rows, columns = torch.meshgrid(
        torch.linspace(0, 1, 50), torch.linspace(0, 1, 80), indexing="ij"
    )
    ramp = torch.stack([columns, rows, rows * 0]).expand(200, 3, 50, 80)
    cropped = augmented(ramp, crop=(0.2, 0.6))
    wide, high = (
        (cropped[:, 0, 25, -1] - cropped[:, 0, 25, 0]),
        (cropped[:, 1, -1, 40] - cropped[:, 1, 0, 40]),
    )
    area, bend = wide * high, wide / high
    assert 0.17 < area.min() < 0.25 and 0.5 < area.max() < 0.62
    assert 0.7 < bend.min() < 0.85 and 1.2 < bend.max() < 1.4
    middles = cropped[:, 0, 25, 40]
    assert middles.min() < 0.35 and middles.max() > 0.65


def test_a_rotation_keeps_the_shape_of_things_in_a_frame_that_is_not_square():
    image = torch.zeros(1, 3, 20, 40)
    image[:, :, 8:12, 14:26] = 1.0  # a bar, 12 by 4
    y, x = torch.meshgrid(torch.arange(20) - 9.5, torch.arange(40) - 19.5, indexing="ij")
    angles = []
    for seed in range(30):
        bar = augmented(image, seed, rotate=180.0)[0, 0] * (
            x.square() + y.square() < 81
        )  # without what is mirrored in from outside
        assert bar.sum().item() == pytest.approx(48, rel=0.1)
        moments = (
            torch.stack([(bar * x * x).sum(), (bar * x * y).sum(), (bar * y * y).sum()]) / bar.sum()
        )
        values, vectors = torch.linalg.eigh(moments[[0, 1, 1, 2]].view(2, 2))
        assert values.sqrt().tolist() == pytest.approx([4 / 12**0.5, 12 / 12**0.5], rel=0.1)
        angles.append(abs(vectors[0, 1].item()))
    assert min(angles) < 0.2 and max(angles) > 0.98  # upright and lying ones are among them


def test_colours_by_hand(pixels):
    made = augmented(pixels, seed=3, colour=0.5)
    generator = torch.Generator().manual_seed(3)
    b, c, s = (torch.rand(6, 1, 1, 1, generator=generator) + 0.5 for _ in range(3))
    grey = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    bright = pixels * b
    mean = (bright * grey).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    contrasted = mean + c * (bright - mean)
    luma = (contrasted * grey).sum(dim=1, keepdim=True)
    torch.testing.assert_close(made, (luma + s * (contrasted - luma)).clamp(0, 1))
    no_colour = augmented(pixels, grey=1.0)
    torch.testing.assert_close(
        no_colour, (pixels * grey).sum(dim=1, keepdim=True).expand_as(pixels)
    )


def test_views_double_the_batch_and_its_labels(images):
    batches = ImageBatches(
        images, range(30), preprocessing=SMALL, batch_size=8, augment=Augmentation(views=2)
    )
    x, y = next(iter(batches))
    assert x.shape == (16, 3, 16, 16) and torch.equal(y[:8], y[8:]) and len(set(y.tolist())) == 8
    assert not torch.equal(x[:8], x[8:])


def test_augmented_pixels_are_scaled_after_the_change(images):
    doing_nothing = ImageBatches(
        images, preprocessing=SMALL, sampler=InOrder(30), augment=Augmentation(**NOTHING)
    )
    ((x, _),) = doing_nothing
    torch.testing.assert_close(x, SMALL(list(images)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"crop": (0.0, 1.0)}, "crop must be two shares"),
        ({"crop": (0.9, 0.5)}, "crop must be two shares"),
        ({"flip": 1.5}, "flip must be a number >= 0 and <= 1"),
        ({"rotate": -3}, "rotate must be"),
        ({"views": 0}, "views must be"),
    ],
)
def test_augmentations_that_make_no_sense(settings, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**settings)
