"""The camera of the rendered world: where it stands, so that an object fills a wanted circle of the picture.

The camera looks along +y and downwards; image coordinates are fractions of the picture's width, x to the right and y
upwards, (0, 0) in the middle.
"""

from dataclasses import dataclass

import numpy as np

SENSOR = 36.0  # mm, the width of the picture


@dataclass(frozen=True)
class Camera:
    """Pinhole camera; `shift` moves the frame (as a view camera's lens does), so the perspective stays."""

    position: tuple  # (x, y, z)
    elevation: float  # degrees that it looks downwards
    lens: float  # focal length, mm
    shift: tuple = (0.0, 0.0)  # fractions of the width

    @property
    def axes(self):
        """Unit vectors to the right, upwards and forwards."""
        angle = np.radians(self.elevation)
        forward = np.array([0, np.cos(angle), -np.sin(angle)])
        right = np.array([1.0, 0, 0])
        return right, np.cross(right, forward), forward

    def project(self, points):
        """(n, 3) -> image coordinates (n, 2)."""
        right, up, forward = self.axes
        away = np.asarray(points) - self.position
        return (
            self.lens
            / SENSOR
            * np.column_stack([away @ right, away @ up])
            / (away @ forward)[:, None]
            - self.shift
        )


def enclosing_circle(points, steps=400):
    """Centre (2,) and radius of the smallest circle around points (n, 2), to a thousandth of the radius (Badoiu and
    Clarkson, SODA 2003)."""
    points = np.asarray(points, float)
    spread = np.linspace(0, np.pi, 24, endpoint=False)
    along = points @ np.stack([np.cos(spread), np.sin(spread)])
    points = points[
        np.unique([along.argmin(axis=0), along.argmax(axis=0)])
    ]  # the extreme ones decide
    centre = points.mean(axis=0)
    for step in range(steps):
        farthest = points[np.argmax(((points - centre) ** 2).sum(axis=1))]
        centre = centre + (farthest - centre) / (step + 2)
    return centre, float(np.sqrt(((points - centre) ** 2).sum(axis=1).max()))


def frame(points, elevation, lens, circle):
    """Camera that sees points (n, 3) within the circle (x, y, radius), in image coordinates."""
    x, y, radius = circle
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    distance = lens / SENSOR / radius
    for _ in range(12):
        backwards = -Camera((0, 0, 0), elevation, lens).axes[2]
        camera = Camera(tuple(target + distance * backwards), elevation, lens)
        centre, seen = enclosing_circle(camera.project(points))
        distance = max(distance * seen / radius, 1.2)
    return Camera(camera.position, elevation, lens, (float(centre[0] - x), float(centre[1] - y)))
