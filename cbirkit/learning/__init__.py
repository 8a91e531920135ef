"""Training: one loop for every loss, batches of images, and fine-tuning that gives an encoder back."""

from .augment import Augmentation
from .batches import ImageBatches
from .embedding_head import EmbeddingHead
from .fine_tuning import FineTuning, fine_tune
from .hash_head import HashHead
from .history import History
from .interpolation import interpolate
from .loop import train
from .metric import MetricLearning, learn_metric
from .metric_loss import metric_loss
from .options import Options
from .projection import LinearProjection
from .samplers import ClassBalanced, InOrder, Shuffled
from .schedules import rate_factor
from .scoring import retrieval_score
from .steps import TrainingDiverged

__all__ = [
    "Augmentation",
    "ClassBalanced",
    "EmbeddingHead",
    "FineTuning",
    "HashHead",
    "History",
    "ImageBatches",
    "InOrder",
    "LinearProjection",
    "MetricLearning",
    "Options",
    "Shuffled",
    "TrainingDiverged",
    "fine_tune",
    "interpolate",
    "learn_metric",
    "metric_loss",
    "rate_factor",
    "retrieval_score",
    "train",
]
