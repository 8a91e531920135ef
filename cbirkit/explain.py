"""Why are these two images similar? Maps of where a similarity comes from, and scores of such maps.

Every map is of the second image: what in `image` makes it similar to `query`. They are float32 of the image's height and width;
larger is more important.
"""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from cbirkit._optional import require
from cbirkit.attacks import attackable, to_pixels
from cbirkit.encoders.base import check_choice, check_count, check_number

FILLS = ("blur", "grey")
_FIFTHS = 5


def similarities(encoder, query, images):
    """Cosine of each image to the query.

    Parameters
    ----------
    encoder : encoder, fitted if it has anything to learn
    query : RGB uint8 array (h, w, 3), or its embedding (d,)
    images : sequence of RGB uint8 arrays (h, w, 3)

    Returns
    -------
    ndarray (n_images,), float32

    Examples
    --------
    >>> from cbirkit.encoders import MeanColor
    >>> red, blue = np.zeros((2, 4, 4, 3), np.uint8)
    >>> red[..., 0] = blue[..., 2] = 255
    >>> similarities(MeanColor(), red, [red, blue]).tolist()
    [1.0, 0.0]
    """
    return normalize(encoder.transform(list(images))) @ embedding(encoder, query)


def embedding(encoder, query):
    """Embedding (d,), of length 1, of an image (h, w, 3); an embedding is only scaled."""
    query = np.asarray(query)
    if query.ndim == 1:
        return normalize(query[None].astype(np.float32))[0]
    return normalize(encoder.transform([_image(query)]))[0]


def filled(image, fill="blur"):
    """What an image is replaced by where it is hidden.

    Parameters
    ----------
    image : RGB uint8 array (h, w, 3)
    fill : {"blur", "grey"}
        "blur": the image itself, blurred by a tenth of its shorter side, which leaves its colours; "grey": mid-grey, which puts edges
        around what is hidden.

    Returns
    -------
    ndarray (h, w, 3), uint8

    Examples
    --------
    >>> filled(np.zeros((2, 2, 3), np.uint8), "grey")[0, 0].tolist()
    [128, 128, 128]
    """
    check_choice("fill", fill, FILLS)
    if fill == "grey":
        return np.full_like(_image(image), 128)
    return _blurred(_image(image).tobytes(), image.shape).copy()


def occlusion(encoder, query, image, *, window=0.25, cells=8, fill="blur"):
    """What the similarity loses when a window of the image is hidden; of a pixel, the mean over all windows that cover it.

    ``map[p] = mean over windows W that hold p of s(image) - s(image without W)``. Works with any encoder, at ``cells**2`` encodings.

    Parameters
    ----------
    encoder : encoder
    query : RGB uint8 array (h, w, 3), or embedding (d,)
    image : RGB uint8 array (h, w, 3)
    window : float
        Side of the window as a fraction of the image's.
    cells : int
        Positions along each side, at least ``1 / window``.
    fill : {"blur", "grey"}

    Returns
    -------
    ndarray (h, w), float32
        Below 0 where the image becomes more similar without.

    Raises
    ------
    ValueError
        A number out of range, windows that leave gaps, or no RGB uint8 image.

    References
    ----------
    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, arXiv 1311.2901. For a similarity: SBSM, Dong,
    Collins and Hoogs, "Explainability for content-based image retrieval", CVPR workshops 2019. SBSM cuts losses below 0.

    Examples
    --------
    >>> from cbirkit.encoders import MeanColor
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> image[..., 0], image[:4, :4] = 255, (0, 255, 255)  # red, but for a corner
    >>> bool(occlusion(MeanColor(), image, image[::-1], cells=4, fill="grey")[-1, 0] > 0)
    True
    """
    check_number("window", window, 0, 1, open_low=True)
    check_number("cells", cells, np.ceil(1 / window), whole=True)
    height, width = _image(image).shape[:2]
    tall, wide = (max(1, round(window * side)) for side in (height, width))
    tops, lefts = (np.linspace(0, n - m, cells).round().astype(int) for n, m in ((height, tall), (width, wide)))  # fmt: skip
    hidden = np.zeros((cells * cells, height, width), np.float32)
    for number, (top, left) in enumerate((t, x) for t in tops for x in lefts):
        hidden[number, top : top + tall, left : left + wide] = 1
    whole, *scores = _scores(encoder, query, image, [np.zeros((height, width)), *hidden], fill)
    return _weighted_mean(whole - np.array(scores), hidden)


def rise(encoder, query, image, *, n_masks=200, cells=6, keep=0.5, fill="blur", random_state=0):
    """Randomised input sampling: of a pixel, the mean similarity of random masked images, weighted by how far they show it.

    Works with any encoder, at `n_masks` encodings.

    Parameters
    ----------
    encoder, query, image, fill : as of `occlusion`
    n_masks : int
    cells : int
        Cells of a mask along each side, before it is enlarged smoothly and shifted at random.
    keep : float
        Chance of a cell to be shown.
    random_state : int or RandomState

    Returns
    -------
    ndarray (h, w), float32
        The mean over all pixels is subtracted.

    References
    ----------
    Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of black-box models", BMVC 2018, arXiv 1806.07421. There
    the sum is divided by ``n_masks * keep``; here by the sum of the masks at the pixel, which has less variance.
    """
    check_count("n_masks", n_masks)
    check_count("cells", cells)
    check_number("keep", keep, 0, 1, open_low=True)
    random, (height, width) = check_random_state(random_state), _image(image).shape[:2]
    tall, wide = (-(-side // cells) for side in (height, width))
    masks = np.empty((n_masks, height, width), np.float32)
    for mask in masks:
        coarse = (random.uniform(size=(cells + 1, cells + 1)) < keep).astype(np.float32)
        top, left = random.randint(tall), random.randint(wide)
        mask[:] = _enlarged(coarse, (cells + 1) * tall, (cells + 1) * wide)[top : top + height, left : left + width]  # fmt: skip
    found = _weighted_mean(_scores(encoder, query, image, 1 - masks, fill), masks)
    return found - found.mean()


def grad_cam(encoder, query, image):
    """Grad-CAM of a similarity: channels of the last map, weighted by the mean gradient of the cosine, and cut below 0.

    Parameters
    ----------
    encoder : Deep
        Its `layer` says which map.
    query, image : as of `occlusion`

    Returns
    -------
    ndarray (h, w), float32
        0 where the encoder's preprocessing crops.

    Raises
    ------
    TypeError, ValueError
        As of `cbirkit.attacks.attackable`.

    References
    ----------
    Selvaraju et al., "Grad-CAM", ICCV 2017, arXiv 1610.02391, where the cosine takes the place of a class score.
    """
    torch, kept = require("torch"), []
    model, pixels = _differentiable(encoder), to_pixels([_image(image)]).requires_grad_(True)
    handle = model.network.register_forward_hook(lambda module, given, output: kept.append(output))
    score = _cosine_to(encoder, query, model)(pixels).sum()
    handle.remove()
    (slope,) = torch.autograd.grad(score, kept)
    shape = encoder.preprocessing.shape
    maps, slopes = (
        encoder.extractor.maps(one.detach().float(), shape)[0] for one in (*kept, slope)
    )
    weighted = (slopes.mean(dim=(1, 2), keepdim=True) * maps).sum(dim=0).clamp(min=0)
    return _placed(encoder, weighted.cpu().numpy(), image)


def integrated_gradients(encoder, query, image, *, steps=16, fill="blur", smooth=0.03):
    """Integrated gradients of a similarity, from the image's fill to the image.

    ``(image - fill) * mean over the way of d cos / d pixel``, by captum; summed over the channels, as an absolute value, smoothed.

    Parameters
    ----------
    encoder : Deep
    query, image, fill : as of `occlusion`
    steps : int
        Gradients on the way.
    smooth : float
        Standard deviation of the smoothing as a fraction of the shorter side; 0 gives signed values, not smoothed, whose sum is what the
        similarity gains from the fill to the image.

    Returns
    -------
    ndarray (h, w), float32

    Raises
    ------
    ImportError
        captum is missing; the message says how to install it.

    References
    ----------
    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, arXiv 1703.01365.
    """
    attr = require("captum.attr")
    check_count("steps", steps)
    check_number("smooth", smooth, 0)
    model, (pixels, start) = _differentiable(encoder), to_pixels([_image(image), filled(image, fill)]).split(1)  # fmt: skip
    method = attr.IntegratedGradients(_cosine_to(encoder, query, model))
    found = method.attribute(pixels, start, n_steps=steps, internal_batch_size=8)
    signed = found.sum(dim=(0, 1)).detach().cpu().numpy().astype(np.float32)
    return gaussian_filter(np.abs(signed), smooth * min(signed.shape)) if smooth else signed


def matched_regions(encoder, query, image, *, k=5):
    """Cells of the two feature maps that are each other's nearest, most similar first.

    Parameters
    ----------
    encoder : Deep
        Its `layer` says which map.
    query, image : RGB uint8 arrays (h, w, 3)
    k : int
        Pairs at most.

    Returns
    -------
    ndarray (n_pairs, 5), float32
        x and y of the cell's middle in the query, x and y in the image, in pixels, and their cosine.

    References
    ----------
    Late interaction, without the mutual test: Khattab and Zaharia, "ColBERT", SIGIR 2020, arXiv 2004.12832.
    """
    check_count("k", k)
    rows, places = [], []
    for one in (_image(query), _image(image)):
        found = encoder.feature_maps([one])[0]  # (c, h, w)
        rows.append(normalize(found.reshape(len(found), -1).T))
        places.append(_middles(encoder, found.shape[1:], one))
    cosines = rows[0] @ rows[1].T  # (n_query, n_image)
    best, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    mutual = np.flatnonzero(back[best] == np.arange(len(best)))
    first = mutual[np.argsort(-cosines[mutual, best[mutual]], kind="stable")][:k]
    pairs = [places[0][first], places[1][best[first]], cosines[first, best[first]][:, None]]
    return np.concatenate(pairs, axis=1).astype(np.float32)


# ---------------------------------------------------------------------- scores of a map


def centre_prior(image):
    """A map that knows nothing but the middle of the image: minus the distance to it, in half sides; (h, w), float32."""
    y, x = (np.abs(np.linspace(-1, 1, n)) for n in _image(image).shape[:2])
    return -np.hypot(y[:, None], x).astype(np.float32)


def random_blobs(image, random_state=0):
    """A map that knows nothing of the image, about as smooth as those of the methods: (h, w), float32."""
    noise = check_random_state(random_state).normal(size=_image(image).shape[:2])
    return gaussian_filter(noise, min(noise.shape) / 10).astype(np.float32)


METHODS = {
    "occlusion": occlusion,
    "RISE": lambda *pair, **how: rise(*pair, n_masks=100, **how),
    "Grad-CAM": lambda *pair, fill: grad_cam(*pair),
    "integrated gradients": integrated_gradients,
    "random map": lambda _, query, image, fill: random_blobs(image),
}


def pointing(saliency, mask):
    """Pointing game: whether the map's maximum lies in the mask; of equal maxima, the fraction that do.

    Parameters
    ----------
    saliency : array (h, w)
    mask : bool array (h, w)

    Returns
    -------
    float
        From 0 to 1; NaN for an empty mask.

    References
    ----------
    Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018, arXiv 1608.00507, with a tolerance of 15 pixels; here none.

    Examples
    --------
    >>> pointing([[0, 3], [3, 1]], [[False, True], [False, False]])
    0.5
    """
    saliency, mask = _pair(saliency, mask)
    return float(mask[saliency == saliency.max()].mean()) if mask.any() else float("nan")


def mass_inside(saliency, mask):
    """Fraction of the map's mass above 0 that lies in the mask; the mask's area if there is none above 0.

    References
    ----------
    "Energy-based pointing game" of Wang et al., "Score-CAM", CVPR workshops 2020, arXiv 1910.01279.

    Examples
    --------
    >>> mass_inside([[-5, 3], [0, 1]], [[True, True], [False, False]])
    0.75
    """
    saliency, mask = _pair(saliency, mask)
    mass = np.maximum(saliency, 0)
    return float(mass[mask].sum() / mass.sum()) if mass.any() else float(mask.mean())


def curve(encoder, query, image, saliency, *, insert=False, steps=10, fill="blur"):
    """Similarity to the query while the image is deleted, or inserted into its fill, most important pixels first.

    Parameters
    ----------
    encoder, query, image, fill : as of `occlusion`
    saliency : array (h, w)
        Equal values are taken in the order of the rows.
    insert : bool
    steps : int

    Returns
    -------
    ndarray (steps + 1,), float32
        Similarities with 0, 1 / steps, … and all pixels deleted (inserted).

    References
    ----------
    Petsiuk et al., BMVC 2018, arXiv 1806.07421; earlier, for deletion, Samek et al., TNNLS 2017, arXiv 1509.06321.
    """
    check_count("steps", steps)
    saliency, _ = _pair(saliency, np.asarray(image)[..., 0])
    rank = np.empty(saliency.size, np.int64)
    rank[np.argsort(-saliency.ravel(), kind="stable")] = np.arange(saliency.size)
    counts = np.linspace(0, saliency.size, steps + 1).round()
    taken = rank.reshape(saliency.shape) < counts[:, None, None]  # (steps + 1, h, w)
    return _scores(encoder, query, image, ~taken if insert else taken, fill)


def by_each_method(encoder, query, image, *, fill="blur"):
    """Maps by each of `METHODS`, and what the similarity loses when the best fifth of each is hidden.

    Parameters
    ----------
    encoder, query, image, fill : as of `occlusion`

    Returns
    -------
    similarity : float
        Cosine of the two embeddings.
    maps : dict of ndarray (h, w)
        By method; "random map" is there to compare with.
    losses : dict of float
    problems : dict of str
        Why a method gives no map here.
    """
    vector, maps, losses, problems = embedding(encoder, query), {}, {}, {}
    for name, method in METHODS.items():
        try:
            maps[name] = method(encoder, vector, image, fill=fill)
        except (TypeError, ValueError, ImportError) as problem:
            problems[name] = str(problem)
            continue
        whole, hidden, *_ = curve(encoder, vector, image, maps[name], steps=_FIFTHS, fill=fill)
        losses[name] = float(whole - hidden)
    return float(whole), maps, losses, problems


def heated(image, saliency):
    """An image in grey, orange where a map is high, with a white cross at its maximum: (h, w, 3), uint8.

    Examples
    --------
    >>> heated(np.zeros((9, 9, 3), np.uint8), np.eye(9))[8, 8].tolist()
    [230, 159, 0]
    """
    low, high = float(saliency.min()), float(saliency.max())
    heat = (np.asarray(saliency, np.float32) - low) / max(high - low, 1e-12)
    grey = np.repeat(60 + 0.6 * image.mean(axis=2, keepdims=True), 3, axis=2)
    mixed = grey + heat[..., None] ** 1.5 * (np.array([230, 159, 0]) - grey)
    y, x = np.unravel_index(saliency.argmax(), saliency.shape)
    arm = max(1, min(heat.shape) // 24)
    if arm > 1:
        mixed[max(y - arm, 0) : y + arm + 1, x] = mixed[y, max(x - arm, 0) : x + arm + 1] = 255
    return mixed.round().astype(np.uint8)


def area_under(values):
    """Area under a curve over [0, 1], by trapezoids.

    Examples
    --------
    >>> area_under([1.0, 0.5, 0.0])
    0.5
    """
    values = np.asarray(values, dtype=np.float64)
    return float((values[1:] + values[:-1]).mean() / 2)


# ---------------------------------------------------------------------- parts


def _image(image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected an RGB uint8 image (h, w, 3), got shape {image.shape}, {image.dtype}")  # fmt: skip
    return image


@lru_cache(maxsize=4)
def _blurred(pixels, shape):
    """An image is blurred again for each of its maps and curves: keep the last ones."""
    image, sigma = np.frombuffer(pixels, np.uint8).reshape(shape), min(shape[:2]) / 10
    return gaussian_filter(image.astype(np.float32), (sigma, sigma, 0)).round().astype(np.uint8)


def _pair(saliency, mask):
    saliency, mask = np.asarray(saliency, dtype=np.float64), np.asarray(mask, dtype=bool)
    if saliency.shape != mask.shape or saliency.ndim != 2 or not np.isfinite(saliency).all():
        raise ValueError(f"expected a finite map of the shape {mask.shape}, got {saliency.shape}; maps and masks are (h, w)")  # fmt: skip
    return saliency, mask


def _differentiable(encoder):
    """The encoder as a function of pixels that has gradients."""
    try:
        return attackable(encoder)
    except TypeError as error:
        kind = type(encoder).__name__
        raise TypeError(f"maps by gradients need a Deep encoder, got {kind}; use occlusion or rise") from error  # fmt: skip


def _scores(encoder, query, image, hidden, fill):
    """Similarity of the image with its fill where `hidden` (n, h, w), from 0 to 1: (n,)."""
    background, query = filled(image, fill).astype(np.float32), embedding(encoder, query)

    def shown(part):
        part = np.asarray(part, np.float32)[..., None]
        return (image * (1 - part) + background * part).round().astype(np.uint8)

    return np.concatenate([similarities(encoder, query, map(shown, hidden[at : at + 64])) for at in range(0, len(hidden), 64)])  # fmt: skip


def _weighted_mean(values, weights):
    total = np.maximum(weights.sum(axis=0), 1e-6)
    return (np.tensordot(np.asarray(values, np.float32), weights, 1) / total).astype(np.float32)


def _cosine_to(encoder, query, model):
    target = require("torch").from_numpy(embedding(encoder, query))
    return lambda pixels: model(pixels) @ target


def _enlarged(array, height, width):
    return require("cv2").resize(array, (width, height), interpolation=1)  # bilinear


def _placed(encoder, small, image):
    """A map (h', w') of what the network sees, on the image: (h, w), 0 where it is cropped away."""
    (height, width), step = image.shape[:2], encoder.preprocessing
    full_h, full_w, top, left = step.placed(height, width)
    whole = np.zeros((full_h, full_w), np.float32)
    whole[top : top + step.shape[0], left : left + step.shape[1]] = _enlarged(small, *step.shape)
    return _enlarged(whole, height, width)


def _middles(encoder, grid, image):
    """Middles (n, 2) of the cells of a grid in pixels of the image: x, y."""
    (height, width), step = image.shape[:2], encoder.preprocessing
    full_h, full_w, top, left = step.placed(height, width)
    y, x = ((np.arange(n) + 0.5) * side / n for n, side in zip(grid, step.shape, strict=True))
    y, x = (y + top) * height / full_h, (x + left) * width / full_w
    return np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)
