"""Random changes of a whole batch of images at once."""

import dataclasses
import math

from cbirkit._optional import require
from cbirkit.encoders.base import check_count, check_number

_BEND = math.log(4 / 3)  # a crop's aspect, relative to the image's, lies between 3/4 and 4/3


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random crop, flip, rotation, tint, colour and grey; each image of a batch is changed in its own way.

    Attributes
    ----------
    crop : (float, float) or None
        Share of the area that a random crop keeps, from and to; it is resized to the whole (bilinear, no
        antialiasing: meant for crops that are enlarged), its aspect changed by at most 4/3. None: no crop.
    rotate : float
        Largest rotation, degrees; what comes in from outside is mirrored.
    flip : float
        Probability of a left-right flip.
    colour : float
        Brightness, contrast and saturation are each multiplied by a number from 1 - colour to 1 + colour.
    tint : float
        Each of the three channels is multiplied by a number of its own from 1 - tint to 1 + tint, which changes hues.
    grey : float
        Probability of a grey image.
    views : int
        Changed copies of each image. With 2 or more the batch holds all first copies, then all second ones …,
        and so do its labels.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> import torch
    >>> pixels = torch.rand(4, 3, 32, 32)
    >>> Augmentation(views=2)(pixels, torch.Generator().manual_seed(0)).shape
    torch.Size([8, 3, 32, 32])
    """

    crop: tuple | None = (0.5, 1.0)
    rotate: float = 0.0
    flip: float = 0.5
    colour: float = 0.2
    grey: float = 0.0
    views: int = 1
    tint: float = 0.0

    def __post_init__(self):
        low, high = self.crop or (1, 1)
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop must be two shares, 0 < from <= to <= 1, got {self.crop!r}")
        for name, high in {"rotate": 180, "flip": 1, "colour": 1, "grey": 1, "tint": 1}.items():
            check_number(name, getattr(self, name), 0, high)
        check_count("views", self.views)

    def __call__(self, pixels, generator=None):
        """Change a batch.

        Parameters
        ----------
        pixels : tensor (n, 3, h, w), float32 in [0, 1]
        generator : torch.Generator on the CPU, optional
            Default: torch's own.

        Returns
        -------
        tensor (views * n, 3, h, w), float32 in [0, 1]
        """
        return require("torch").cat([self._once(pixels, generator) for _ in range(self.views)])

    def _once(self, pixels, generator):
        def draw(low, high):
            """One number an image, (n, 1, 1, 1)."""
            drawn = require("torch").rand(len(pixels), 1, 1, 1, generator=generator)
            return (drawn * (high - low) + low).to(pixels.device)

        placed = self._placed(pixels, draw)
        if self.tint:
            tints = [draw(1 - self.tint, 1 + self.tint) for _ in range(3)]
            placed = (placed * require("torch").cat(tints, dim=1)).clamp_(0, 1)
        return self._coloured(placed, draw) if self.colour or self.grey else placed

    def _placed(self, pixels, draw):
        """Crop, rotate and flip in one interpolation; flips alone move pixels exactly."""
        torch = require("torch")
        height, width = pixels.shape[-2:]
        if self.crop is None and not self.rotate:
            if not self.flip:
                return pixels
            return torch.where(draw(0, 1) < self.flip, pixels.flip(-1), pixels)
        one = torch.ones(len(pixels), 1, 1, 1, device=pixels.device)
        share_x = share_y = one
        if self.crop is not None:
            area, bend = draw(*self.crop), draw(-_BEND, _BEND).exp()
            share_x, share_y = (area * bend).sqrt().clamp(max=1), (area / bend).sqrt().clamp(max=1)
        # middle of the crop; the image reaches from -1 to 1
        x, y = draw(-1, 1) * (1 - share_x), draw(-1, 1) * (1 - share_y)
        sign = torch.where(draw(0, 1) < self.flip, -one, one)
        angle = draw(-1, 1) * math.radians(self.rotate)
        cos, sin = angle.cos(), angle.sin()
        first = [sign * share_x * cos, -share_y * sin * (height / width), x]
        second = [sign * share_x * sin * (width / height), share_y * cos, y]
        theta = torch.cat([torch.cat(row, dim=3) for row in (first, second)], dim=2)
        functional = torch.nn.functional
        grid = functional.affine_grid(theta[:, 0], pixels.shape, align_corners=False)  # (n, 2, 3)
        return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)

    def _coloured(self, pixels, draw):
        """Brightness b, then contrast c about the mean of the grey values, then saturation s: one linear map of a pixel and its grey."""
        b, c, s = (draw(1 - self.colour, 1 + self.colour) for _ in range(3))
        s = s * (draw(0, 1) >= self.grey)
        red, green, blue = pixels.split(1, dim=1)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue  # (n, 1, h, w)
        middle = b * luma.mean(dim=(-2, -1), keepdim=True)
        offset = luma * ((1 - s) * c * b) + middle * (1 - c)
        return (pixels * (s * c * b)).add_(offset).clamp_(0, 1)
