"""Ways to cut an image into regions that may hold a thing; all have ``propose(image) -> list of Region``."""

from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator

from cbirkit._optional import require
from cbirkit.encoders.base import check_count, check_each, check_number, resize
from cbirkit.images import to_rgb

from .regions import Region, keep_best

_RING = 3  # pixels around a region that it is compared with
# Regions of networks: the smallest, as a fraction of the image, and how many.
_LEAST, _MOST = 0.002, 16
# How far a mask is eroded to part what touches, as fractions of the longer side of the image.
_SHRINK = (0, 0.01, 0.02)


class Proposer(BaseEstimator):
    """What the ways share: a checked image in, regions out, best first.

    A class has ``_regions(image)``, which turns RGB uint8 (h, w, 3) into a list of `Region`.
    """

    def propose(self, image):
        """Cut an image into regions, which may overlap.

        Parameters
        ----------
        image : ndarray (h, w, 3), RGB uint8, or what `cbirkit.images.to_rgb` takes
            Grey and RGBA arrays are converted.

        Returns
        -------
        list of Region
            The most object-like first. Empty where there is nothing to be seen.

        Raises
        ------
        ImageProblem
            It is no image.
        ValueError
            A parameter is out of range.
        """
        return self._regions(to_rgb(np.asarray(image)))


class SlidingPyramid(Proposer):
    """Square windows of several sizes, half a window apart: every place, no look at the image. The honest baseline.

    Parameters
    ----------
    scales : sequence of float in (0, 1]
        Sides of the windows, as shares of the shorter side of the image.

    Examples
    --------
    >>> len(SlidingPyramid(scales=(1.0, 0.5)).propose(np.zeros((64, 64, 3), np.uint8)))
    10
    """

    def __init__(self, scales=(0.6, 0.4, 0.25)):
        self.scales = scales

    def _regions(self, image):
        check_each("scales", self.scales, check_number, low=0, high=1, open_low=True)
        height, width = image.shape[:2]
        found = []
        for scale in self.scales:
            side = max(1, round(scale * min(height, width)))
            rows, columns = (_starts(length, side) for length in (height, width))
            boxes = [(x, y, x + side, y + side) for y in rows for x in columns]
            found += [Region.from_box(box, image.shape) for box in boxes]
        return found


def _starts(length, side):
    """Where windows begin, evenly spread, the first at 0 and the last at the end: list of int."""
    step = max(1.0, side / 2)
    n = int(np.ceil((length - side) / step - 1e-9)) + 1
    return np.linspace(0, length - side, n).round().astype(int).tolist()


class _Superpixels(Proposer):
    """Superpixels, and what comes of joining the most similar neighbours again and again."""

    def __init__(self, max_regions, iou, min_area, max_area):
        self.max_regions = max_regions
        self.iou = iou
        self.min_area = min_area
        self.max_area = max_area

    def _regions(self, image):
        check_count("max_regions", self.max_regions)
        labels = self._superpixels(image)
        regions = merged_regions(image, labels, min_area=self.min_area, max_area=self.max_area)
        return keep_best(regions, n=self.max_regions, iou=self.iou)


class Felzenszwalb(_Superpixels):
    """Felzenszwalb and Huttenlocher's graph segments, merged step by step; every segment on the way is a region.

    Parameters
    ----------
    scale : float
        Larger: larger segments to begin with.
    max_regions : int
        The best are kept.
    iou : float
        Of two regions that overlap by more the better one is kept.
    min_area, max_area : float
        Regions outside these shares of the image are left out.

    References
    ----------
    Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 2004, doi:10.1023/B:VISI.0000022288.19776.77.
    Merging: Uijlings et al., "Selective search for object recognition", IJCV 2013, doi:10.1007/s11263-013-0620-5 (colour only here,
    and the score is the contrast to what lies around).

    Examples
    --------
    >>> image = np.full((60, 60, 3), 200, np.uint8)
    >>> image[20:40, 25:45] = 30, 60, 160
    >>> Felzenszwalb().propose(image)[0].box
    (25, 20, 45, 40)
    """

    def __init__(self, scale=120.0, *, max_regions=60, iou=0.7, min_area=0.004, max_area=0.6):
        super().__init__(max_regions, iou, min_area, max_area)
        self.scale = scale

    def _superpixels(self, image):
        from skimage.segmentation import felzenszwalb

        return felzenszwalb(image, scale=self.scale, sigma=0.8, min_size=25)


class SLIC(_Superpixels):
    """SLIC superpixels, of about equal size, merged step by step; every segment on the way is a region.

    Parameters
    ----------
    n_segments : int
        Superpixels to begin with, about.
    max_regions, iou, min_area, max_area
        As for `Felzenszwalb`.

    References
    ----------
    Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel methods", TPAMI 2012, doi:10.1109/TPAMI.2012.120.

    Examples
    --------
    >>> image = np.full((60, 60, 3), 200, np.uint8)
    >>> image[20:40, 25:45] = 30, 60, 160
    >>> len(SLIC(40).propose(image)) > 0
    True
    """

    def __init__(self, n_segments=80, *, max_regions=60, iou=0.7, min_area=0.004, max_area=0.6):
        super().__init__(max_regions, iou, min_area, max_area)
        self.n_segments = n_segments

    def _superpixels(self, image):
        from skimage.segmentation import slic

        check_count("n_segments", self.n_segments)
        return slic(image, n_segments=self.n_segments, compactness=10.0, start_label=0)


def merged_regions(image, labels, *, min_area=0.0, max_area=1.0):
    """All segments of a partition, and all that arise while its most similar neighbours are joined.

    Parameters
    ----------
    image : ndarray (h, w, 3), RGB uint8
    labels : ndarray (h, w), int
        Which superpixel each pixel belongs to.
    min_area, max_area : float
        Regions outside these shares of the image are left out.

    Returns
    -------
    list of Region
        Their score is the distance in CIE Lab between the mean colour inside and that of the pixels just around, over 100.
    """
    colours = _lab(image)
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    n_pixels, sizes, found = labels.size, np.bincount(labels.ravel()), []
    for group in _merge(labels, colours):
        if min_area * n_pixels <= sizes[group].sum() <= max_area * n_pixels:
            chosen = np.zeros(len(sizes), bool)
            chosen[group] = True
            found.append(_scored(Region.from_mask(chosen[labels]), colours))
    return found


def _merge(labels, colours):
    """Which superpixels make up each segment on the way from all of them to one: list of lists."""
    n = labels.max() + 1
    sizes = np.bincount(labels.ravel()).astype(float)
    sums = [np.bincount(labels.ravel(), colours[..., c].ravel()) for c in range(3)]
    means = np.stack(sums, axis=1) / sizes[:, None]
    groups = [[i] for i in range(n)]
    found = list(groups)
    costs = {(a, b): np.linalg.norm(means[a] - means[b]) for a, b in _neighbours(labels)}
    while costs:
        a, b = min(costs, key=lambda pair: (costs[pair], pair))
        means[a] = (sizes[a] * means[a] + sizes[b] * means[b]) / (sizes[a] + sizes[b])
        sizes[a] += sizes[b]
        groups[a] = groups[a] + groups[b]
        found.append(groups[a])
        touched = {(x if y in (a, b) else y) for x, y in costs if {x, y} & {a, b}} - {a, b}
        costs = {pair: cost for pair, cost in costs.items() if not {a, b} & set(pair)}
        costs |= {tuple(sorted((a, c))): np.linalg.norm(means[a] - means[c]) for c in touched}
    return found


def _neighbours(labels):
    """Pairs of superpixels that touch: set of (smaller, larger)."""
    sides = ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1]))
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in sides])
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return set(map(tuple, pairs.tolist()))


def _lab(image):
    """CIE Lab, float32 (h, w, 3), slightly smoothed."""
    cv2 = require("cv2")
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8).astype(np.float32) / 255
    return cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)


def _scored(region, colours):
    """The region with its contrast to the ring around it as score; 0 where there is none."""
    cv2 = require("cv2")
    x0, y0, x1, y1 = region.box
    left, top = max(x0 - _RING, 0), max(y0 - _RING, 0)
    window = np.s_[top : y1 + _RING, left : x1 + _RING]
    inside = np.zeros(colours[window].shape[:2], np.uint8)
    inside[y0 - top : y1 - top, x0 - left : x1 - left] = region.inside
    around = cv2.dilate(inside, np.ones((2 * _RING + 1,) * 2, np.uint8)) > inside
    if not around.any():
        return region
    part = colours[window]
    contrast = np.linalg.norm(part[inside > 0].mean(axis=0) - part[around].mean(axis=0)) / 100
    return replace(region, score=float(contrast))


class GrabCut(Proposer):
    """The thing inside a box, told from what surrounds it: two colour mixtures and a minimal cut.

    Parameters
    ----------
    box : sequence of 4 numbers, optional
        x0, y0, x1, y1 in pixels, around the thing. Default: the middle 80 % of the image.

    Notes
    -----
    `propose` gives one region, inside the box. Where the cut leaves nothing (a box of one colour, or of the whole image) it is
    the box itself.

    References
    ----------
    Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004, doi:10.1145/1015706.1015720.

    Examples
    --------
    >>> image = np.full((60, 60, 3), 200, np.uint8)
    >>> image[20:40, 25:45] = 30, 60, 160
    >>> GrabCut((20, 15, 50, 45)).propose(image)[0].box
    (25, 20, 45, 40)
    """

    def __init__(self, box=None):
        self.box = box

    def _regions(self, image):
        height, width = image.shape[:2]
        middle = (0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height)
        box = middle if self.box is None else self.box
        asked = Region.from_box(box, image.shape, score=1.0)
        x0, y0, x1, y1 = asked.box
        if (x1 - x0, y1 - y0) == (width, height) or min(x1 - x0, y1 - y0) < 3:
            return [asked]  # nothing outside to learn the ground from, or nothing to cut
        cv2 = require("cv2")
        cut, models = np.zeros((height, width), np.uint8), [np.zeros((1, 65)) for _ in range(2)]
        cv2.setRNGSeed(0)
        try:
            cv2.grabCut(image, cut, (x0, y0, x1 - x0, y1 - y0), *models, 3, cv2.GC_INIT_WITH_RECT)
        except cv2.error:  # a ground of fewer pixels than mixtures
            return [asked]
        mask = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return [Region.from_mask(mask, score=1.0)] if mask.any() else [asked]


class _Network(Proposer):
    """What the networks share: built once for its parameters, and left out where the proposer is saved or copied."""

    def _network(self):
        """The network, on its device, and the device."""
        from cbirkit.nets.extraction import pick_device

        made_for = getattr(self, "model", None), self.weights
        if getattr(self, "_kept", (None,))[0] != made_for:
            self._kept = made_for, self._build()
        device = pick_device(self.device)
        return self._kept[1].to(device), device

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}


class Segmenter(_Network):
    """A small network that says for each pixel whether it belongs to an object; every connected part is a region.

    It learned that from rendered pictures (`datasets.load_tabletop`: objects of the seen categories, and windows of the "correlated"
    scenes that show no other): a few objects on a table or the ground. On photographs it
    cuts far worse than sliding windows do (mean best overlap .186 on street scenes, .295 on COCO, against .453 and .464).

    Parameters
    ----------
    weights : "default" or path
        "default": those that ship with the kit. `tools/train_segmenter.py` trains others.
    sides : sequence of int
        Pixels of the longer side of what the network looks at, one pass each: it learned at 96, and finds small objects better in a
        larger picture. Of two regions that overlap by more than 0.7 the better is kept.
    threshold : float in (0, 1)
        Of the probability that a pixel belongs to an object.
    device : str
        As for `encoders.Deep`.

    Notes
    -----
    The 16 best regions are given, none smaller than 0.2 % of the image. A region's score is the mean probability of its pixels. Objects
    that touch become one region; they are also looked for in masks that are eroded first, by 1 and 2 % of the longer side.

    Examples
    --------
    >>> Segmenter(threshold=0.7)
    Segmenter(threshold=0.7)
    """

    def __init__(self, weights="default", *, sides=(96, 192, 288), threshold=0.5, device="auto"):
        self.weights = weights
        self.sides = sides
        self.threshold = threshold
        self.device = device

    def probabilities(self, image, side=96):
        """For each pixel of an RGB uint8 image (h, w, 3) the probability that it belongs to a thing: float32 (h, w)."""
        from cbirkit.nets.conv5 import thing_probabilities

        shape = image.shape[:2]
        tall, wide = (max(8, 8 * round(length * side / max(shape) / 8)) for length in shape)
        network, device = self._network()
        small = thing_probabilities(network, resize(image, wide, tall), device)
        enlarge = require("torch").nn.functional.interpolate
        return enlarge(small, shape, mode="bilinear", align_corners=False)[0, 0].cpu().numpy()

    def _regions(self, image):
        check_each("sides", self.sides, check_count, low=8)
        check_number("threshold", self.threshold, 0, 1)
        found = []
        for side in self.sides:
            chances = self.probabilities(image, side)
            for shrink in _SHRINK:
                mask = chances > self.threshold
                found += connected_regions(mask, chances, min_area=_LEAST, shrink=shrink)
        return keep_best(found, n=_MOST, iou=0.7)

    def _build(self):
        from cbirkit.nets.conv5 import load_segmenter

        return load_segmenter(self.weights)


class TorchvisionSegmenter(_Network):
    """Regions from torchvision's Mask R-CNN or DeepLab, trained on photographs of everyday things.

    Parameters
    ----------
    model : str
        "maskrcnn_resnet50_fpn" and its kin give one region a thing; "deeplabv3_mobilenet_v3_large" and other models of
        semantic segmentation a region for each connected part of one class.
    weights : "default", None or path
        "default": the official ones, downloaded once (170 MB, 42 MB). None: random, which finds nothing of use. Else a file of a state
        dict.
    min_score : float
        Mask R-CNN's things below it are left out.
    device : str

    Notes
    -----
    The 16 best regions are given, none smaller than 0.2 % of the image.

    References
    ----------
    He, Gkioxari, Dollár and Girshick, "Mask R-CNN", ICCV 2017, arXiv 1703.06870. Chen, Papandreou, Schroff and Adam, "Rethinking atrous
    convolution for semantic image segmentation", arXiv 1706.05587.

    Examples
    --------
    >>> TorchvisionSegmenter(weights=None)
    TorchvisionSegmenter(weights=None)
    """

    def __init__(
        self, model="maskrcnn_resnet50_fpn", weights="default", *, min_score=0.5, device="auto"
    ):
        self.model = model
        self.weights = weights
        self.min_score = min_score
        self.device = device

    def _regions(self, image):
        torch = require("torch")
        network, device = self._network()
        pixels = torch.from_numpy(image.copy()).to(device)
        pixels = pixels.permute(2, 0, 1).float() / 255  # (h, w, 3) -> (3, h, w)
        with torch.inference_mode():
            rcnn = "rcnn" in self.model
            found = _instances(network, pixels, self.min_score) if rcnn else _parts(network, pixels)
        least = _LEAST * image.shape[0] * image.shape[1]
        return keep_best([region for region in found if region.area >= least], n=_MOST)

    def _build(self):
        from cbirkit.nets.from_torchvision import build_segmenter

        return build_segmenter(self.model, self.weights)


def _instances(network, pixels, min_score):
    """What Mask R-CNN sees, a region a thing."""
    seen = network([pixels])[0]
    masks, scores = (seen["masks"][:, 0] > 0.5).cpu().numpy(), seen["scores"].tolist()
    kept = [i for i, mask in enumerate(masks) if scores[i] >= min_score and mask.any()]
    return [Region.from_mask(masks[i], scores[i]) for i in kept]


def _parts(network, pixels):
    """What a network that names every pixel sees: the connected parts of each class but the ground, number 0."""
    normalize = require("torchvision").transforms.functional.normalize
    scaled = normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    output = network(scaled[None])["out"][0]
    chances = output.softmax(dim=0).cpu().numpy()  # (n_classes, h, w)
    named = chances.argmax(axis=0)
    return [r for c in np.unique(named) if c for r in connected_regions(named == c, chances[c])]


def connected_regions(mask, chances, *, min_area=0.0, shrink=0.0):
    """The connected parts of a mask, with the mean of `chances` over each as score.

    Parameters
    ----------
    mask : ndarray of shape (h, w), bool
    chances : ndarray of shape (h, w)
    min_area : float
        Smaller parts, as fractions of the image, are left out.
    shrink : float
        How far the mask is eroded before, and each part dilated after, as a fraction of the longer side: parts what touches.

    Returns
    -------
    list of Region

    Examples
    --------
    >>> mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
    >>> [region.box for region in connected_regions(mask, mask * 0.5)]
    [(0, 0, 2, 1), (3, 1, 4, 2)]
    """
    cv2, square, by = require("cv2"), np.ones((3, 3), np.uint8), round(shrink * max(mask.shape))
    cores = cv2.erode(mask.astype(np.uint8), square, iterations=by)
    n, labels = cv2.connectedComponents(cores, connectivity=4)
    parts = [(labels == number).astype(np.uint8) for number in range(1, n)]
    parts = [cv2.dilate(part, square, iterations=by) > 0 for part in parts]
    parts = [part for part in parts if np.count_nonzero(part) >= min_area * mask.size]
    return [Region.from_mask(part, float(chances[part].mean())) for part in parts]
