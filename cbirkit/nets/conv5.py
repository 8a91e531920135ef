"""A network small enough to be trained in a notebook."""

from torch import nn

from .preprocessing import Preprocessing

CONV5_PREPROCESSING = Preprocessing(
    size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="squash"
)


class Conv5(nn.Module):
    """Five blocks of 3 x 3 convolution, batch normalisation and ReLU; the first, second and fourth halve the resolution.

    156,792 numbers to learn; with a linear layer of 64 outputs on top, 163,000. `forward` gives the last map: of images of 64 pixels
    a side (n, 96, 8, 8). It has no head: pool the map and put on top what the task needs.

    Attributes
    ----------
    blocks : Sequential of 5 Sequential

    Examples
    --------
    >>> import torch
    >>> Conv5()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 96, 8, 8])
    """

    n_dims = 96

    def __init__(self):
        super().__init__()
        plan = [
            (3, 24, 2),
            (24, 48, 2),
            (48, 48, 1),
            (48, 96, 2),
            (96, 96, 1),
        ]  # channels in, out, stride
        self.blocks = nn.Sequential(*(_block(*shape) for shape in plan))

    def forward(self, images):
        """(n, 3, h, w) -> (n, 96, h / 8, w / 8)."""
        return self.blocks(images)


def _block(n_in, n_out, stride):
    convolution = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))
