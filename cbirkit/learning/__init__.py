"""Training: one loop for every loss, batches of images, and fine-tuning that gives an encoder back."""

from .augment import Augmentation
from .batches import ImageBatches
from .fine_tuning import FineTuning, fine_tune
from .hash_head import HashHead
from .history import History
from .interpolation import interpolate
from .loop import train
from .options import Options
from .projection import LinearProjection
from .samplers import ClassBalanced, InOrder, Shuffled
from .schedules import rate_factor
from .scoring import retrieval_score
from .steps import TrainingDiverged

__all__ = [
    "Augmentation",
    "ClassBalanced",
    "FineTuning",
    "HashHead",
    "History",
    "ImageBatches",
    "InOrder",
    "LinearProjection",
    "Options",
    "Shuffled",
    "TrainingDiverged",
    "fine_tune",
    "interpolate",
    "rate_factor",
    "retrieval_score",
    "train",
]
