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
_RESIZES = ("squash", "crop", "pad")
_LONG = (
    16  # a strip that were this much larger than the result is not made as a whole before the crop
)


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
        if len(sides) != 2 or not all(_is_whole(side) and side > 0 for side in sides):
            raise ValueError(
                f"size must be a positive whole number or (height, width), got {self.size!r}; use 224, say"
            )
        for name, choices in (("resize", _RESIZES), ("interpolation", tuple(_FILTERS))):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}; pass one of these"
                )
        if not 0 < self.crop_ratio <= 1:
            raise ValueError(
                f"crop_ratio must lie in (0, 1], got {self.crop_ratio!r}; 0.875 is usual"
            )
        if np.ndim(self.mean) == 1 and max(self.mean) > 1:
            raise ValueError(
                f"mean and std are of RGB values in [0, 1], got mean={self.mean!r}; divide both by 255"
            )
        if (
            np.ndim(self.mean) != 1
            or np.ndim(self.std) != 1
            or len(self.mean) != 3
            or len(self.std) != 3
            or not all(value > 0 for value in self.std)
        ):
            raise ValueError(
                f"mean and std must hold 3 numbers, std positive ones, got {self.mean!r} and {self.std!r}"
            )

    @property
    def shape(self):
        """Height and width of the result in pixels."""
        height, width = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        return int(height), int(width)

    def scaled(self, factor):
        """The same for a result `factor` times as large, rounded to whole pixels."""
        size = tuple(max(1, round(side * factor)) for side in self.shape)
        return self if size == self.shape else dataclasses.replace(self, size=size)

    def resized(self, image):
        """Resize one RGB uint8 image (h, w, 3): uint8 (height, width, 3)."""
        height, width = self.shape
        if image.shape[:2] == (height, width) and (self.resize != "crop" or self.crop_ratio == 1):
            return image
        picture = Image.fromarray(np.ascontiguousarray(image))
        if self.resize == "squash":
            return np.asarray(picture.resize((width, height), self._filter(picture, height, width)))
        if self.resize == "crop":
            return self._cropped(picture)
        return self._padded(picture)

    def to_tensor(self, images, device="cpu"):
        """Scale resized images, each uint8 (height, width, 3), on a device: float32 tensor (n, 3, height, width), channels last."""
        height, width = self.shape
        pixels = (
            torch.from_numpy(np.stack(images)).to(device).view(-1, 3 * width)
        )  # (n, h, w, 3) -> (n * h, 3 * w): quicker
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).repeat(width)
            for values in (self.mean, self.std)
        )
        scaled = pixels.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std)
        return scaled.view(-1, height, width, 3).permute(0, 3, 1, 2)

    def __call__(self, images):
        """Turn RGB uint8 images (h_i, w_i, 3) into a float32 tensor (n, 3, height, width)."""
        return self.to_tensor([self.resized(image) for image in images])

    def _filter(self, picture, height, width):
        grows = height > picture.height or width > picture.width
        return _FILTERS[
            "bilinear" if self.interpolation == "area" and grows else self.interpolation
        ]

    def _cropped(self, picture):
        height, width = self.shape
        least_h, least_w = (
            max(side, math.floor(side / self.crop_ratio + 1e-6)) for side in (height, width)
        )
        tall = least_h * picture.width >= least_w * picture.height  # the height decides
        if tall:
            full_h, full_w = least_h, max(width, int(least_h * picture.width / picture.height))
        else:
            full_h, full_w = max(height, int(least_w * picture.height / picture.width)), least_w
        top, left = round((full_h - height) / 2), round((full_w - width) / 2)
        how = self._filter(picture, full_h, full_w)
        if full_h * full_w <= _LONG * height * width:
            cut = (left, top, left + width, top + height)
            return np.asarray(picture.resize((full_w, full_h), how).crop(cut))
        y, x = (
            picture.height / full_h,
            picture.width / full_w,
        )  # pixels of the image in one of the result
        box = (
            left * x,
            top * y,
            min(picture.width, (left + width) * x),
            min(picture.height, (top + height) * y),
        )
        return np.asarray(picture.resize((width, height), how, box=box))

    def _padded(self, picture):
        height, width = self.shape
        factor = min(height / picture.height, width / picture.width)
        new_h, new_w = (max(1, round(side * factor)) for side in (picture.height, picture.width))
        how = self._filter(picture, new_h, new_w)
        out = np.empty((height, width, 3), dtype=np.uint8)
        out[:] = np.round(np.array(self.mean) * 255)
        top, left = (height - new_h) // 2, (width - new_w) // 2
        out[top : top + new_h, left : left + new_w] = np.asarray(
            picture.resize((new_w, new_h), how)
        )
        return out


def _is_whole(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
