"""From RGB images of any size to the tensor that a network was trained on."""

import dataclasses
import math
import numbers

import numpy as np
import torch
from PIL import Image

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
}
# A strip that were this much larger than the result is not made as a whole before the crop.
_LONG = 16


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize, scale to [0, 1], subtract `mean`, divide by `std`.

    Parameters
    ----------
    size : int or (int, int)
        Pixels of the result: a side, or height and width.
    mean, std : tuple of 3 float
        Of the RGB values in [0, 1]. Default: those of ImageNet.
    resize : {"squash", "crop", "pad"}
        "squash" ignores the aspect ratio. "crop" scales the image until it covers ``size / crop_ratio`` and cuts `size` out of
        its middle. "pad" scales it until it fits into `size` and adds borders of the colour `mean`, which is 0 after scaling.
    interpolation : {"bilinear", "bicubic", "area"}
        Pillow's filters, which average what a pixel of the result covers (antialiasing). "area" is the plain mean of it; where an
        image is enlarged it means bilinear.
    crop_ratio : float in (0, 1]
        Share of the side that "crop" keeps.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Notes
    -----
    "squash" and "crop" give the pixels of torchvision's ``Resize`` and ``CenterCrop`` on PIL images, and those of timm where the image
    is square.

    Examples
    --------
    >>> Preprocessing(32)([np.zeros((48, 64, 3), dtype=np.uint8)]).shape
    torch.Size([1, 3, 32, 32])
    """

    size: int | tuple = 224
    mean: tuple = (0.485, 0.456, 0.406)
    std: tuple = (0.229, 0.224, 0.225)
    resize: str = "squash"
    interpolation: str = "bilinear"
    crop_ratio: float = 0.875

    def __post_init__(self):
        sides = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        whole = [isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in sides]
        holds = {  # name, and what it must be
            ("size", "a positive whole number or (height, width)"): (
                all(whole) and len(sides) == 2 and min(sides) > 0
            ),
            ("resize", "one of squash, crop, pad"): self.resize in ("squash", "crop", "pad"),
            ("interpolation", f"one of {', '.join(_FILTERS)}"): self.interpolation in _FILTERS,
            ("crop_ratio", "above 0 and at most 1 (0.875 is usual)"): 0 < self.crop_ratio <= 1,
            ("mean", "3 numbers of RGB in [0, 1] (divide both by 255)"): (
                np.shape(self.mean) == (3,) and max(self.mean) <= 1
            ),
            ("std", "3 positive numbers"): np.shape(self.std) == (3,) and min(self.std) > 0,
        }
        for (name, rule), right in holds.items():
            if not right:
                raise ValueError(f"{name} must be {rule}, got {getattr(self, name)!r}")

    @property
    def shape(self):
        """Height and width of the result in pixels."""
        height, width = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        return int(height), int(width)

    def scaled(self, factor):
        """The same for a result `factor` times as large, rounded to whole pixels."""
        size = tuple(max(1, round(side * factor)) for side in self.shape)
        return self if size == self.shape else dataclasses.replace(self, size=size)

    def placed(self, height, width):
        """Where an image of `height` and `width` goes.

        Returns
        -------
        full_height, full_width : int
            What the whole image is scaled to.
        top, left : int
            Where in that the result begins; negative where borders are added.
        """
        h, w = self.shape
        if self.resize == "squash":
            return h, w, 0, 0
        if self.resize == "crop":
            least_h, least_w = (math.floor(side / self.crop_ratio + 1e-6) for side in (h, w))
            if least_h * width >= least_w * height:  # the height decides
                full_h, full_w = least_h, max(w, int(least_h * width / height))
            else:
                full_h, full_w = max(h, int(least_w * height / width)), least_w
            return full_h, full_w, round((full_h - h) / 2), round((full_w - w) / 2)
        factor = min(h / height, w / width)
        full_h, full_w = (max(1, round(side * factor)) for side in (height, width))
        return full_h, full_w, -((h - full_h) // 2), -((w - full_w) // 2)

    def resized(self, image):
        """Resize one RGB uint8 image (h, w, 3): uint8 (height, width, 3)."""
        height, width = self.shape
        full_h, full_w, top, left = self.placed(*image.shape[:2])
        if image.shape[:2] == (full_h, full_w) == (height, width):
            return image
        picture = Image.fromarray(np.ascontiguousarray(image))
        grows = full_h > picture.height or full_w > picture.width
        how = _FILTERS["bilinear" if grows and self.interpolation == "area" else self.interpolation]
        if full_h * full_w > _LONG * height * width:
            # pixels of the image in one of the result
            y, x = picture.height / full_h, picture.width / full_w
            bottom, right = min(full_h, top + height) * y, min(full_w, left + width) * x
            return np.asarray(
                picture.resize((width, height), how, box=(left * x, top * y, right, bottom))
            )
        scaled = picture.resize((full_w, full_h), how)
        if (full_h, full_w) != (height, width):
            colour = tuple(round(255 * value) for value in self.mean)
            whole, scaled = scaled, Image.new("RGB", (width, height), colour)
            scaled.paste(whole, (-left, -top))
        return np.asarray(scaled)

    def to_tensor(self, images, device="cpu"):
        """Scale resized images, each uint8 (height, width, 3), on a device: float32 tensor (n, 3, height, width), channels last."""
        height, width = self.shape
        # (n, h, w, 3) -> (n * h, 3 * w): quicker
        pixels = torch.from_numpy(np.stack(images)).to(device).view(-1, 3 * width)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).repeat(width)
            for values in (self.mean, self.std)
        )
        scaled = pixels.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std)
        return scaled.view(-1, height, width, 3).permute(0, 3, 1, 2)

    def __call__(self, images):
        """Turn RGB uint8 images (h_i, w_i, 3) into a float32 tensor (n, 3, height, width)."""
        return self.to_tensor([self.resized(image) for image in images])
