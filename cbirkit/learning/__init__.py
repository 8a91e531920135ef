"""Training: one loop for every loss, batches of images, and fine-tuning that gives an encoder back."""

from .augment import Augmentation
from .batches import ImageBatches
from .history import History
from .loop import train
from .options import Options
from .samplers import ClassBalanced, InOrder, Shuffled
from .schedules import rate_factor
from .steps import TrainingDiverged

__all__ = [
    "Augmentation",
    "ClassBalanced",
    "History",
    "ImageBatches",
    "InOrder",
    "Options",
    "Shuffled",
    "TrainingDiverged",
    "rate_factor",
    "train",
]
