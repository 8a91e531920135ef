"""From images to embeddings: scikit-learn transformers, hand-made features first."""

from .aggregation import VLAD, BagOfWords
from .color import ColorHistogram, MeanColor
from .deep import Deep
from .fisher import FisherVector
from .hash_product import ProductQuantiser
from .hash_projections import ITQ, PCAHash, RandomProjectionHash
from .hash_spectral import SpectralHash
from .local import SIFT
from .pixels import TinyImage
from .sparse_words import SparseBagOfWords
from .texture import HOG, LBP
from .whitening import LearnedWhitening, PCAWhitening

__all__ = [
    "HOG",
    "ITQ",
    "LBP",
    "SIFT",
    "VLAD",
    "BagOfWords",
    "ColorHistogram",
    "Deep",
    "FisherVector",
    "LearnedWhitening",
    "MeanColor",
    "PCAHash",
    "PCAWhitening",
    "ProductQuantiser",
    "RandomProjectionHash",
    "SparseBagOfWords",
    "SpectralHash",
    "TinyImage",
]
