"""From images to embeddings: scikit-learn transformers, hand-made features first."""

from .codebooks import VLAD, BagOfWords, FisherVector, SparseBagOfWords
from .deep import Deep
from .hashes import ITQ, PCAHash, ProductQuantiser, RandomProjectionHash, SpectralHash
from .local import SIFT
from .pixels import HOG, LBP, ColorHistogram, MeanColor, TinyImage
from .whitening import LearnedWhitening, PCAWhitening

__all__ = [
    "HOG", "ITQ", "LBP", "SIFT", "VLAD", "BagOfWords", "ColorHistogram", "Deep", "FisherVector",
    "LearnedWhitening", "MeanColor", "PCAHash", "PCAWhitening", "ProductQuantiser",
    "RandomProjectionHash", "SparseBagOfWords", "SpectralHash", "TinyImage",
]  # fmt: skip
