"""What a search returns (`Ranking`) and what it should have returned (`Relevance`)."""

from .ranked import Ranking
from .relevance import Relevance

__all__ = ["Ranking", "Relevance"]
