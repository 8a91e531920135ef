"""Stop between two steps, not in the middle of one, when the stop button or Ctrl-C is pressed."""

import contextlib
import signal
import threading


class Interrupts:
    """While this block lasts, the first SIGINT only makes `check` raise KeyboardInterrupt; a second raises it at once.

    Works in the main thread; elsewhere Python delivers no signals and it does nothing.
    """

    def __init__(self):
        self._asked = False
        self._at_once = False
        self._before = None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread() and callable(
            signal.getsignal(signal.SIGINT)
        ):
            self._before = signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, *exception):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _receive(self, number, frame):
        if self._asked or self._at_once:
            raise KeyboardInterrupt
        self._asked = True

    def check(self):
        """Raise KeyboardInterrupt if it was asked for."""
        if self._asked:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def at_once(self):
        """In this block nothing is changed that matters: raise as soon as it is asked for."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False


def in_notebook():
    """Whether this runs in a Jupyter kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")
