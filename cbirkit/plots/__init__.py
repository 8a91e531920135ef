"""Pictures of retrieval: functions that take and return matplotlib Axes.

Right and wrong are shown by a mark and a line style as well as by a colour of Okabe and Ito's set, which
is safe for the colour-blind, and any file name is drawn as it stands. `alt_text(ax)` describes in plain
language what was drawn; `show(ax)` displays the figure in a notebook with that as its alternative text.
"""

from .bars import metric_bars
from .curves import precision_recall
from .diagrams import decision_chain, pipeline
from .maps import embedding_map
from .matches import match_lines
from .style import alt_text, describe, show
from .tiles import contact_sheet, ranked_list
from .training import learning_curve

__all__ = [
    "alt_text",
    "contact_sheet",
    "decision_chain",
    "describe",
    "embedding_map",
    "learning_curve",
    "match_lines",
    "metric_bars",
    "pipeline",
    "precision_recall",
    "ranked_list",
    "show",
]
