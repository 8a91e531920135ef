"""`Explorer`: what the explorers share: mistakes told in the status line, and a picture for places without a kernel."""

import io
import logging
from base64 import b64encode

from ipywidgets import VBox

log = logging.getLogger(__name__)
_OF_THE_READER = (ValueError, TypeError, LookupError, OSError, ImportError)


class Explorer(VBox):
    """An explorer has ``_status``, a `StatusLine`, and ``static()``, its view as a matplotlib figure."""

    def _guard(self, action, *args):
        """Do what was asked for; what goes wrong is told in the status line."""
        try:
            action(*args)
        except _OF_THE_READER as problem:
            self._status.say(str(problem), problem=True)
        except (
            Exception
        ) as error:  # a defect, not a mistake of the reader: say so, and keep the traceback
            log.exception("%s failed", type(self).__name__)
            words = f"this failed with {type(error).__name__}: {error}; the log has the details"
            self._status.say(words, problem=True)

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and beside it a picture for readers of the notebook who have no kernel."""
        return with_picture(super()._repr_mimebundle_(**kwargs), self.static())


def with_picture(bundle, figure):
    """What a notebook keeps of a widget: its `bundle`, and beside it a picture for readers who have no kernel."""
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=72, metadata={"Software": None})
    picture = b64encode(buffer.getvalue()).decode("ascii")
    return data | {"image/png": picture}, metadata | {
        "image/png": {"alt": figure.axes[0].get_label()}
    }
