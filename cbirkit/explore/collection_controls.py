"""`FilterRow`: the filters and the order of `CollectionExplorer`."""

from ipywidgets import Box, Button, Dropdown, Layout, Text

from .collection_facts import MEASURED

_ANY = 0  # place of "any value" in the menu of values


class FilterRow(Box):
    """Menus of columns, of values and of orders, a field for a part of a name, and a button to show all.

    Parameters
    ----------
    facts : Facts
    """

    def __init__(self, facts):
        self._facts, self._values, self._callbacks, self._quiet = facts, [], [], False
        self._column = Dropdown(description="only", layout=Layout(width="200px"))
        self._value = Dropdown(layout=Layout(width="210px"))
        self._name = Text(
            placeholder="part of a name", continuous_update=False, layout=Layout(width="130px")
        )
        self._sort = Dropdown(description="order", layout=Layout(width="220px"))
        self._all = Button(description="Show all", layout=Layout(width="auto"))
        for control, tooltip in (
            (self._column, "Column to choose images by"), (self._value, "Value that the images shown have"),
            (self._name, "What the names of the images shown hold"), (self._sort, "Order of the contact sheet"),
            (self._all, "Take all filters off"),
        ):  # fmt: skip
            control.tooltip = tooltip
        for control in (self._column, self._sort):
            control.style.description_width = "36px"
        super().__init__([self._column, self._value, self._name, self._all, self._sort])
        self.add_class("cbk-row")
        self.show((), "", None)
        self._column.observe(lambda _change: self._on_column(), "value")
        for control in (self._value, self._name, self._sort):
            control.observe(lambda _change: self._tell(), "value")
        self._all.on_click(lambda _button: self._clear())

    def on_change(self, callback):
        """Call ``callback(filters, containing, sort_by)`` when a control is used."""
        self._callbacks.append(callback)

    def show(self, filters, containing, sort_by, *, filtering=True, sorting=True):
        """Set the controls, without telling anybody; several filters at once have no place in the menus.

        Without a filter the column stays that was chosen, for a value of it may be chosen next.
        """
        self._quiet = True
        try:
            column, value = (
                filters[0]
                if len(filters) == 1
                else ("" if filters else self._column.value or "", None)
            )
            columns = [("all images", ""), *((name, name) for name in self._facts.choices)]
            columns += [(column, column)] if column not in dict(columns).values() else []
            self._set(self._column, columns, column)
            self._offer_values(column, value, chosen=bool(filters and column))
            self._name.value = containing
            self._set(self._sort, self._orders(sort_by), sort_by or "")
        finally:
            self._quiet = False
        self._all.disabled = not filters and not containing and not column
        for control in (self._column, self._name, self._all):
            control.layout.display = None if filtering else "none"
        self._value.layout.display = None if filtering and column else "none"
        self._sort.layout.display = None if sorting else "none"

    def _set(self, menu, options, value):
        if menu.options != tuple(options):
            menu.options = options
        menu.value = value

    def _offer_values(self, column, value=None, *, chosen=False):
        values = self._facts.values(column) if column else []
        words = [words for words, _ in values]
        self._values = [value for _, value in values]
        if chosen and value not in self._values:  # asked for from Python, or too rare for the menu
            self._values, words = [value, *self._values], ["as asked for", *words]
        self._set(
            self._value,
            [("any value", _ANY), *((text, i) for i, text in enumerate(words, 1))],
            _ANY,
        )
        self._value.value = 1 + self._values.index(value) if chosen else _ANY

    def _orders(self, sort_by):
        known = [name for name in self._facts.choices if name not in MEASURED]
        orders = [("as given", ""), ("by name", "id")]
        if "pixels" in self._facts.table:
            orders += [("largest pictures first", "-pixels"), ("smallest pictures first", "pixels")]
        if "distance" in self._facts.table:
            orders += [
                ("most unlike others first", "-distance"),
                ("most like others first", "distance"),
            ]
        for name in known:
            orders += [(f"by {name}", name), (f"by {name}, descending", f"-{name}")]
        return orders + (
            [(sort_by, sort_by)] if (sort_by or "") not in dict(orders).values() else []
        )

    def _on_column(self):
        if self._quiet:
            return
        self._quiet = True
        try:
            self._offer_values(self._column.value)
        finally:
            self._quiet = False
        self._value.layout.display = None if self._column.value else "none"
        self._tell()

    def _clear(self):
        self._quiet = True
        self._column.value = ""
        self.show((), "", self._sort.value or None)
        self._tell()

    def _tell(self):
        if self._quiet:
            return
        place = self._value.value
        filters = () if place == _ANY else ((self._column.value, self._values[place - 1]),)
        for callback in self._callbacks:
            callback(filters, self._name.value.strip(), self._sort.value or None)
