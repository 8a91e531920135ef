"""Training: one loop for every loss, batches of images, and fine-tuning that gives an encoder back."""

from .augment import Augmentation
from .batches import ClassBalanced, ImageBatches, InOrder, Shuffled
from .contrastive import Contrastive, contrastive_loss, learn_contrastive, nt_xent
from .hash_head import HashHead
from .heads import EmbeddingHead, LinearProjection
from .history import History
from .loop import Options, TrainingDiverged, rate_factor, train
from .metric import MetricLearning, learn_metric, metric_loss
from .scoring import retrieval_score
from .tuning import FineTuning, fine_tune, interpolate

__all__ = [
    "Augmentation", "ClassBalanced", "Contrastive", "EmbeddingHead", "FineTuning", "HashHead",
    "History", "ImageBatches", "InOrder", "LinearProjection", "MetricLearning", "Options",
    "Shuffled", "TrainingDiverged", "contrastive_loss", "fine_tune", "interpolate",
    "learn_contrastive", "learn_metric", "metric_loss", "nt_xent", "rate_factor", "retrieval_score",
    "train",
]  # fmt: skip
