"""`Cropper`: a picture to drag a rectangle over, and the place where files are dropped."""

import logging

import anywidget
import traitlets

from .page import script, style

log = logging.getLogger(__name__)
MAX_BYTES = 64 * 2**20


class Cropper(anywidget.AnyWidget):
    """Shows one picture; a region of it is chosen with the mouse, with the arrow keys or by numbers.

    Examples
    --------
    >>> cropper = Cropper()
    >>> cropper.show(b"", 640, 480, name="a.jpg")
    >>> cropper.on_crop(print)
    >>> cropper.receive({"event": "crop", "box": [600, 0, 100, 20]})  # clipped to the picture
    (600, 0, 40, 20)
    """

    _esm = script("cropper.js")
    _css = style("cropper.css")
    image = traitlets.Bytes(b"").tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)
    height = traitlets.Int(1).tag(sync=True)
    name = traitlets.Unicode("").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    box = traitlets.List(traitlets.Int()).tag(sync=True)
    hint = traitlets.Unicode("Drag over the picture to search for a part of it.").tag(sync=True)
    max_bytes = traitlets.Int(MAX_BYTES).tag(sync=True)

    def __init__(self):
        super().__init__()
        self._callbacks = {"crop": [], "point": [], "whole": [], "file": [], "problem": []}
        self._parts = (
            None  # of a file that is arriving: [name, size, parts expected, list of bytes]
        )
        self.on_msg(lambda _widget, content, buffers: self.receive(content, buffers))

    def show(self, image, width, height, *, name="", box=None):
        """Show a picture.

        Parameters
        ----------
        image : bytes
            Encoded, of any size: it is scaled to fit.
        width, height : int
            Pixels of the original, which boxes are counted in.
        name : str
        box : tuple of 4 int, optional
            Region (x, y, width, height) to set off.
        """
        with self.hold_sync():
            self.image = image
            self.width, self.height = int(width), int(height)
            self.name, self.alt = name, f"query picture {name}"
            self.box = [] if box is None else [int(value) for value in box]

    def on_crop(self, callback):
        """Call ``callback((x, y, width, height))`` when a region is chosen."""
        self._callbacks["crop"].append(callback)

    def on_point(self, callback):
        """Call ``callback(x, y)`` when the picture is clicked without a region; where nobody asks for that it is a problem."""
        self._callbacks["point"].append(callback)

    def on_whole(self, callback):
        """Call ``callback()`` when the whole picture is asked for."""
        self._callbacks["whole"].append(callback)

    def on_file(self, callback):
        """Call ``callback(name, bytes)`` when a file was dropped or chosen."""
        self._callbacks["file"].append(callback)

    def on_problem(self, callback):
        """Call ``callback(sentence)`` when a region or file cannot be used."""
        self._callbacks["problem"].append(callback)

    def receive(self, content, buffers=()):
        """Handle a message from the page, trusting nothing in it."""
        event = content.get("event") if isinstance(content, dict) else None
        try:
            if (
                event == "crop"
                and self._callbacks["point"]
                and (point := clicked(content.get("box")))
            ):
                self._tell("point", *point)
            elif event == "crop":
                self._tell("crop", checked_box(content.get("box"), self.width, self.height))
            elif event == "whole":
                self._tell("whole")
            elif event == "file":
                self._receive_part(content, buffers)
            else:
                log.warning("Cropper ignored a message of an unknown kind")
        except ValueError as problem:
            self._tell("problem", str(problem))

    def _tell(self, event, *args):
        for callback in self._callbacks[event]:
            callback(*args)

    def _receive_part(self, content, buffers):
        """Put a file together that comes in parts."""
        name = str(content.get("name"))[:200]
        size, part, parts = (content.get(key) for key in ("size", "part", "parts"))
        if not all(type(n) is int and n >= 0 for n in (size, part, parts)) or len(buffers) != 1:
            raise ValueError(
                f"the upload of {name} was not understood; run the cell again and retry"
            )
        if size > MAX_BYTES:
            raise ValueError(
                f"{name} is {size / 2**20:.0f} MiB and uploads end at {MAX_BYTES // 2**20} MiB; "
                "use explorer.search(path) for a file this large"
            )
        if part == 0:
            self._parts = (name, size, parts, [])
        if (
            self._parts is None
            or self._parts[:3] != (name, size, parts)
            or len(self._parts[3]) != part
        ):
            self._parts = None
            raise ValueError(f"parts of {name} were lost on the way; upload it again")
        self._parts[3].append(bytes(buffers[0]))
        if part + 1 >= parts:
            data, self._parts = b"".join(self._parts[3]), None
            if len(data) != size:
                raise ValueError(
                    f"{name} arrived with {len(data)} of its {size} bytes; upload it again"
                )
            self._tell("file", name, data)


def clicked(box):
    """Where a click without a drag was, (x, y); None for anything else.

    Examples
    --------
    >>> clicked([5, 9, 0, 0]), clicked([5, 9, 1, 1])
    ((5, 9), None)
    """
    whole = (
        isinstance(box, list | tuple) and len(box) == 4 and all(type(value) is int for value in box)
    )
    return (box[0], box[1]) if whole and not box[2] and not box[3] else None


def checked_box(box, width, height):
    """A region as (x, y, width, height), clipped to the picture.

    Raises
    ------
    ValueError
        It is no list of four whole numbers, or holds no pixel of the picture.

    Examples
    --------
    >>> checked_box([-5, 0, 10, 10], 100, 100)
    (0, 0, 5, 10)
    """
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise ValueError("a region needs four whole numbers: left, top, width, height")
    try:
        whole = [int(value) for value in box]
        if any(isinstance(value, bool) for value in box) or any(
            a != b for a, b in zip(whole, box, strict=True)
        ):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a region needs four whole numbers: left, top, width, height") from None
    x, y, w, h = whole
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if right <= left or bottom <= top:
        raise ValueError(
            f"the region {w} x {h} px at ({x}, {y}) holds nothing of the {width} x {height} px picture; "
            "drag a rectangle over it"
        )
    return left, top, right - left, bottom - top
