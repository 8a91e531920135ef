"""Former place of what is in `cbirkit.ranking.codes`."""

from .codes import as_ids, composed, own_positions, positions_of

__all__ = ["as_ids", "composed", "own_positions", "positions_of"]
