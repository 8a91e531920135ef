"""Pictures of retrieval: functions that take and return matplotlib Axes.

Right and wrong are shown by a mark and a line style as well as by a colour of Okabe and Ito's set, which
is safe for the colour-blind, and any file name is drawn as it stands. `alt_text(ax)` describes in plain
language what was drawn; `show(ax)` displays the figure in a notebook with that as its alternative text.
"""

from .charts import metric_bars
from .diagrams import decision_chain, match_lines, pipeline
from .maps import embedding_map
from .style import alt_text, describe, show
from .tiles import Section, Table, Tile, View, contact_sheet, ranked_list

__all__ = ["contact_sheet", "embedding_map", "match_lines", "ranked_list"]  # of images
__all__ += ["alt_text", "decision_chain", "describe", "metric_bars", "pipeline", "show"]
__all__ += ["Section", "Table", "Tile", "View"]  # what pages and figures are made of
