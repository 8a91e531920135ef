"""Progress bars, silenced where nobody asked for them."""

import contextlib
import threading

_LOCK = threading.Lock()
_blocks = []  # those that silence now; the first keeps what is put back at the end


@contextlib.contextmanager
def bars(shown):
    """Within the block no bar of tqdm is drawn, by whatever library, unless `shown`.

    Examples
    --------
    >>> from tqdm.auto import tqdm
    >>> with bars(False):
    ...     tqdm([]).disable
    True
    """
    if shown:
        yield
        return
    from tqdm.std import tqdm

    with _LOCK:
        _blocks.append(tqdm.__init__)
        original = _blocks[0]
        tqdm.__init__ = lambda self, *args, **kwargs: original(
            self, *args, **{**kwargs, "disable": True}
        )
    try:
        yield
    finally:
        with _LOCK:
            if len(_blocks) == 1:
                tqdm.__init__ = original
            _blocks.pop()
