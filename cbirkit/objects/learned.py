"""Regions from networks that learned to segment: a small one that ships, and torchvision's."""

import numpy as np

from .._optional import require
from ..encoders.base import check_count, resize
from .proposals import Proposer
from .regions import Region, keep_best


class Segmenter(Proposer):
    """A small network that says for each pixel whether it belongs to a thing; every connected part is a region.

    It learned that from drawn scenes (`datasets.load_scenes`, the seen and generic classes), and knows nothing of photographs.

    Parameters
    ----------
    weights : "default" or path
        "default": those that ship with the kit. `tools/train_segmenter.py` trains others.
    sides : sequence of int
        Pixels of the longer side of what the network looks at, one pass each: it learned at 96, and finds small things better in a
        larger picture. Of two regions that overlap by more than 0.7 the better is kept.
    threshold : float in (0, 1)
        Of the probability that a pixel belongs to a thing.
    min_area : float
        Smaller parts, as shares of the image, are left out.
    max_regions : int
    device : str
        As for `encoders.Deep`.

    Notes
    -----
    A region's score is the mean probability of its pixels. Things that touch become one region.

    Examples
    --------
    >>> Segmenter(threshold=0.7)
    Segmenter(threshold=0.7)
    """

    def __init__(
        self,
        weights="default",
        *,
        sides=(96, 192),
        threshold=0.5,
        min_area=0.002,
        max_regions=16,
        device="auto",
    ):
        self.weights = weights
        self.sides = sides
        self.threshold = threshold
        self.min_area = min_area
        self.max_regions = max_regions
        self.device = device

    def probabilities(self, image, side=96):
        """For each pixel of an RGB uint8 image (h, w, 3) the probability that it belongs to a thing: float32 (h, w)."""
        torch = require("torch")
        from ..nets.conv5 import thing_probabilities
        from ..nets.extraction import pick_device

        height, width = image.shape[:2]
        factor = side / max(height, width)
        tall, wide = (max(8, 8 * round(length * factor / 8)) for length in (height, width))
        small = thing_probabilities(
            self._network(), resize(image, wide, tall), pick_device(self.device)
        )
        full = torch.nn.functional.interpolate(
            small, (height, width), mode="bilinear", align_corners=False
        )
        return full[0, 0].cpu().numpy()

    def _regions(self, image):
        check_count("max_regions", self.max_regions)
        for side in self.sides:
            check_count("sides", side, low=8)
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold lies between 0 and 1, got {self.threshold!r}; 0.5 is usual"
            )
        found = []
        for side in self.sides:
            chances = self.probabilities(image, side)
            found += connected_regions(chances > self.threshold, chances, min_area=self.min_area)
        return keep_best(found, n=self.max_regions, iou=0.7)

    def _network(self):
        from ..nets.conv5 import load_segmenter

        if getattr(self, "_kept", (None,))[0] != self.weights:
            self._kept = self.weights, load_segmenter(self.weights)
        return self._kept[1]

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}


class TorchvisionSegmenter(Proposer):
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
    max_regions : int
    min_area : float
        Smaller regions, as shares of the image, are left out.
    device : str

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
        self,
        model="maskrcnn_resnet50_fpn",
        weights="default",
        *,
        min_score=0.5,
        max_regions=16,
        min_area=0.002,
        device="auto",
    ):
        self.model = model
        self.weights = weights
        self.min_score = min_score
        self.max_regions = max_regions
        self.min_area = min_area
        self.device = device

    def _regions(self, image):
        check_count("max_regions", self.max_regions)
        torch = require("torch")
        from ..nets.extraction import pick_device

        device = pick_device(self.device)
        network = self._network().to(device)
        pixels = (
            torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1).float() / 255
        )  # (3, h, w)
        with torch.inference_mode():
            found = (
                _instances(network, pixels, self.min_score)
                if "rcnn" in self.model
                else _parts(network, pixels)
            )
        least = self.min_area * image.shape[0] * image.shape[1]
        return keep_best([region for region in found if region.area >= least], n=self.max_regions)

    def _network(self):
        from ..nets.from_torchvision import build_segmenter

        if getattr(self, "_kept", (None,))[0] != (self.model, self.weights):
            self._kept = (self.model, self.weights), build_segmenter(self.model, self.weights)
        return self._kept[1]

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}


def _instances(network, pixels, min_score):
    """What Mask R-CNN sees, a region a thing."""
    seen = network([pixels])[0]
    kept = [i for i, score in enumerate(seen["scores"]) if score >= min_score]
    masks = [(seen["masks"][i, 0] > 0.5).cpu().numpy() for i in kept]
    return [
        Region.from_mask(m, float(seen["scores"][i]))
        for i, m in zip(kept, masks, strict=True)
        if m.any()
    ]


def _parts(network, pixels):
    """What a network that names every pixel sees: the connected parts of each class but the ground, number 0."""
    torch = require("torch")
    mean, std = (
        torch.tensor(v, device=pixels.device)[:, None, None]
        for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    chances = (
        network(((pixels - mean) / std)[None])["out"][0].softmax(dim=0).cpu().numpy()
    )  # (n_classes, h, w)
    named = chances.argmax(axis=0)
    return [r for c in np.unique(named) if c for r in connected_regions(named == c, chances[c])]


def connected_regions(mask, chances, *, min_area=0.0):
    """The connected parts of a mask, with the mean of `chances` over each as score.

    Parameters
    ----------
    mask : ndarray of shape (h, w), bool
    chances : ndarray of shape (h, w)
    min_area : float
        Smaller parts, as shares of the image, are left out.

    Returns
    -------
    list of Region

    Examples
    --------
    >>> mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
    >>> [region.box for region in connected_regions(mask, mask * 0.5)]
    [(0, 0, 2, 1), (3, 1, 4, 2)]
    """
    cv2 = require("cv2")
    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    parts = [labels == number for number in range(1, n)]
    least = max(1, min_area * mask.size)
    return [
        Region.from_mask(part, float(chances[part].mean()))
        for part in parts
        if np.count_nonzero(part) >= least
    ]
