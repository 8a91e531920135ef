"""Training: one loop for every loss, batches of images, and fine-tuning that gives an encoder back."""

from .augment import Augmentation
from .batches import ClassBalanced, ImageBatches, InOrder, Shuffled
from .hash_head import HashHead
from .heads import EmbeddingHead, LinearProjection
from .history import History
from .loop import Options, TrainingDiverged, rate_factor, train
from .metric import MetricLearning, learn_metric, metric_loss
from .scoring import retrieval_score
from .tuning import FineTuning, fine_tune, interpolate

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
