"""Random changes of a whole batch of images at once."""

import dataclasses
import math

from .._optional import require


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random crop, flip, rotation, colour, grey and erased rectangle; each image of a batch is changed in its own way.

    Attributes
    ----------
    crop : (float, float) or None
        Share of the area that a random crop keeps, from and to; it is resized to the whole (bilinear, no
        antialiasing: meant for crops that are enlarged). None: no crop.
    ratio : float
        The crop's aspect, relative to the image's, lies between 1/ratio and ratio.
    rotate : float
        Largest rotation, degrees; what comes in from outside is mirrored.
    flip : float
        Probability of a left-right flip.
    colour : float
        Brightness, contrast and saturation are each multiplied by a number from 1 - colour to 1 + colour.
    grey : float
        Probability of a grey image.
    erase : float
        Probability that a rectangle of 2 to 20 % of the area gets one random colour (Zhong et al. 2020, arXiv
        1708.04896, who fill it with noise).
    views : int
        Changed copies of each image. With 2 or more the batch holds all first copies, then all second ones …,
        and so do its labels.
    size : int, optional
        Side in pixels of the result; default as it comes in.

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
    ratio: float = 4 / 3
    rotate: float = 0.0
    flip: float = 0.5
    colour: float = 0.2
    grey: float = 0.0
    erase: float = 0.0
    views: int = 1
    size: int | None = None

    def __post_init__(self):
        if self.crop is not None and not (
            len(self.crop) == 2 and 0 < self.crop[0] <= self.crop[1] <= 1
        ):
            raise ValueError(
                f"crop must be two shares of the area, 0 < from <= to <= 1, got {self.crop!r}; use (0.5, 1.0), say"
            )
        for name, low, high in (
            ("ratio", 1, 4), ("rotate", 0, 180), ("flip", 0, 1), ("colour", 0, 1), ("grey", 0, 1), ("erase", 0, 1)
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name} must lie between {low} and {high}, got {getattr(self, name)!r}; {name}={low} does nothing"
                )
        if self.views < 1 or (self.size is not None and self.size < 1):
            raise ValueError(
                f"views and size must be 1 or more, got {self.views!r} and {self.size!r}"
            )

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
        torch = require("torch")
        return torch.cat([self._once(pixels, generator) for _ in range(self.views)])

    def _once(self, pixels, generator):
        def draw(low, high):
            """One number an image, (n, 1, 1, 1)."""
            numbers = (
                require("torch").rand(len(pixels), 1, 1, 1, generator=generator) * (high - low)
                + low
            )
            return numbers.to(pixels.device)

        pixels = self._placed(pixels, draw)
        if self.colour or self.grey:
            pixels = self._coloured(pixels, draw)
        return self._erased(pixels, draw) if self.erase else pixels

    def _placed(self, pixels, draw):
        """Crop, rotate, flip and resize in one interpolation; flips alone move pixels exactly."""
        torch = require("torch")
        height, width = pixels.shape[-2:]
        new = (height, width) if self.size is None else (self.size, self.size)
        if self.crop is None and not self.rotate and new == (height, width):
            return (
                torch.where(draw(0, 1) < self.flip, pixels.flip(-1), pixels)
                if self.flip
                else pixels
            )
        one = torch.ones(len(pixels), 1, 1, 1, device=pixels.device)
        share_x = share_y = one
        if self.crop is not None:
            area, bend = draw(*self.crop), draw(-math.log(self.ratio), math.log(self.ratio)).exp()
            share_x, share_y = (area * bend).sqrt().clamp(max=1), (area / bend).sqrt().clamp(max=1)
        x, y = (
            draw(-1, 1) * (1 - share_x),
            draw(-1, 1) * (1 - share_y),
        )  # middle of the crop; the image reaches from -1 to 1
        sign = torch.where(draw(0, 1) < self.flip, -one, one)
        angle = draw(-1, 1) * math.radians(self.rotate)
        cos, sin = angle.cos(), angle.sin()
        first = [sign * share_x * cos, -share_y * sin * (height / width), x]
        second = [sign * share_x * sin * (width / height), share_y * cos, y]
        theta = torch.cat([torch.cat(row, dim=3) for row in (first, second)], dim=2)[
            :, 0
        ]  # (n, 2, 3)
        grid = torch.nn.functional.affine_grid(theta, (len(pixels), 3, *new), align_corners=False)
        return torch.nn.functional.grid_sample(
            pixels, grid, padding_mode="reflection", align_corners=False
        )

    def _coloured(self, pixels, draw):
        """Brightness b, then contrast c about the mean of the grey values, then saturation s: one linear map of a pixel and its grey."""
        b, c, s = (draw(1 - self.colour, 1 + self.colour) for _ in range(3))
        s = s * (draw(0, 1) >= self.grey)
        red, green, blue = pixels.split(1, dim=1)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue  # (n, 1, h, w)
        middle = b * luma.mean(dim=(-2, -1), keepdim=True)
        offset = luma * ((1 - s) * c * b) + middle * (1 - c)
        return (pixels * (s * c * b)).add_(offset).clamp_(0, 1)

    def _erased(self, pixels, draw):
        torch = require("torch")
        height, width = pixels.shape[-2:]
        area, bend = draw(0.02, 0.2), draw(-math.log(3), math.log(3)).exp()
        half_x, half_y = (
            (area * bend).sqrt().clamp(max=1) / 2,
            (area / bend).sqrt().clamp(max=1) / 2,
        )
        x, y = draw(0, 1) * (1 - 2 * half_x) + half_x, draw(0, 1) * (1 - 2 * half_y) + half_y
        columns = ((torch.arange(width, device=pixels.device) + 0.5) / width).view(1, 1, 1, -1)
        rows = ((torch.arange(height, device=pixels.device) + 0.5) / height).view(1, 1, -1, 1)
        inside = (
            ((columns - x).abs() < half_x) & ((rows - y).abs() < half_y) & (draw(0, 1) < self.erase)
        )  # (n, 1, h, w)
        colour = torch.cat([draw(0, 1) for _ in range(3)], dim=1)  # (n, 3, 1, 1)
        return torch.where(inside, colour, pixels)
