"""From images to embeddings: scikit-learn transformers, hand-made features first."""

from .aggregation import VLAD, BagOfWords
from .color import ColorHistogram, MeanColor
from .deep import Deep
from .fisher import FisherVector
from .local import SIFT
from .pixels import TinyImage
from .sparse_words import SparseBagOfWords
from .texture import HOG, LBP
from .whitening import LearnedWhitening, PCAWhitening

__all__ = ["HOG", "LBP", "SIFT", "VLAD", "BagOfWords", "ColorHistogram", "Deep", "FisherVector", "LearnedWhitening", "MeanColor", "PCAWhitening", "SparseBagOfWords", "TinyImage"]
