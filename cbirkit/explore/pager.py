"""`Pager`: the controls that turn the pages of pictures."""

from ipywidgets import BoundedIntText, Box, Button, Label, Layout


class Pager(Box):
    """Buttons for the page before and after, and a field for its number."""

    def __init__(self):
        self._callbacks, self._quiet = [], False
        self._previous, self._next = (
            Button(description=text, tooltip=tip, layout=Layout(width="auto"))
            for text, tip in (("Previous", "The page before"), ("Next", "The page after"))
        )
        self._page = BoundedIntText(
            1, min=1, max=1, description="page", layout=Layout(width="110px")
        )
        self._page.style.description_width = "36px"
        self._page.tooltip = "Number of the page"
        self._of = Label()
        super().__init__([self._previous, self._next, self._page, self._of])
        self.add_class("cbk-row")
        self._previous.on_click(lambda _button: self._go(self._page.value - 1))
        self._next.on_click(lambda _button: self._go(self._page.value + 1))
        self._page.observe(lambda change: self._go(change.new), "value")

    def on_turn(self, callback):
        """Call ``callback(page)`` when another page is asked for."""
        self._callbacks.append(callback)

    def show(self, page, n_pages):
        """Set the controls, without telling anybody."""
        self._quiet = True
        with self._page.hold_sync():
            self._page.max = max(n_pages, self._page.value)
            self._page.value = page
            self._page.max = n_pages
        self._quiet = False
        self._of.value = f"of {n_pages:,}"
        self._previous.disabled, self._next.disabled = page == 1, page == n_pages
        self.layout.display = None if n_pages > 1 else "none"

    def _go(self, page):
        if not self._quiet:
            for callback in self._callbacks:
                callback(page)
