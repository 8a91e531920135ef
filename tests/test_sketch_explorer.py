"""`SketchExplorer` without a browser: what is found for a drawing, what alignment changes, what of the page is refused."""

import io

import numpy as np
import pytest
from explore_samples import HOSTILE
from PIL import Image
from test_attack_lab import patterned

from cbirkit import Retriever, encoders
from cbirkit.explore import SketchExplorer
from cbirkit.explore.sketch_explorer import MOST_BYTES, SIDE


def png(shade=0, size=(SIDE, SIDE), form="PNG"):
    """White paper with a disc of a shade in the middle."""
    x, y = np.meshgrid(*(np.arange(n) for n in size))
    pixels = np.full((*size[::-1], 3), 255, np.uint8)
    pixels[np.hypot(x - size[0] / 2, y - size[1] / 2) < size[0] / 3] = shade
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def pixels_of(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def retriever():
    return Retriever(encoders.TinyImage(), progress=False).fit(patterned())


@pytest.fixture
def explorer(retriever):
    return SketchExplorer(retriever, k=5)


def draw(explorer, *buffers):
    explorer._pad.receive({"event": "draw"}, list(buffers))


def test_nothing_is_drawn_at_first(explorer):
    assert explorer.found is None and explorer._grid.ids == []
    assert "Draw something" in explorer._status.text and "nothing" in repr(explorer)
    assert "Draw something" in explorer.static().axes[0].get_label()
    assert explorer._aligned not in explorer.children[1].children[0].children[1].children


def test_a_finished_stroke_finds_what_the_retriever_finds(explorer, retriever):
    draw(explorer, memoryview(png()))
    wanted = retriever.search(pixels_of(png()), k=5).ids[0].tolist()
    assert explorer._grid.ids == wanted and explorer.found.ranking.ids[0].tolist() == wanted
    assert explorer._status.text.startswith("Nearest to drawing: ") and "drawing" in repr(explorer)
    before = explorer.found
    draw(explorer, png(200))
    assert explorer.found is not before and not explorer._status.problem


def test_clear_empties_paper_and_list(explorer):
    explorer.search(pixels_of(png()))
    assert explorer._pad.image and explorer._grid.ids
    explorer._pad.strokes = [[5, 1, 1]]
    explorer._pad.receive({"event": "clear"})
    assert explorer.found is None and explorer._grid.ids == []
    assert not explorer._pad.image and explorer._pad.strokes == []


@pytest.mark.parametrize(
    ("buffers", "says"),
    [
        ([], "no PNG of 256 x 256"),
        ([png(), png()], "no PNG of 256 x 256"),
        ([b""], "no PNG of 256 x 256"),
        ([png(form="JPEG")], "no PNG of 256 x 256"),
        ([png(size=(SIDE, SIDE + 1))], "no PNG of 256 x 256"),
        ([png()[:8]], "picture"),
        ([png()[:300]], "drawing"),
        ([b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES)], "ends at 1 MiB"),
    ],
)
def test_what_is_no_drawing_is_refused_in_a_sentence(explorer, buffers, says):
    draw(explorer, png())
    before = explorer.found
    draw(explorer, *buffers)
    told = explorer._status.text
    assert explorer._status.problem and "\n" not in told and len(told) < 200, told
    assert explorer.found is before
    assert says in told or says == "picture", told


@pytest.mark.parametrize("message", [None, 3, {}, {"event": "x"}, {"event": ["draw"]}])
def test_other_messages_do_nothing(explorer, message):
    draw(explorer, png())
    before = explorer.found
    explorer._pad.receive(message, [png()])
    assert explorer.found is before


def test_alignment_moves_the_drawing_and_can_be_switched_off(retriever):
    goal = retriever.embeddings[7]
    aligned = SketchExplorer(retriever, align=lambda vectors: 0 * vectors + goal, k=3)
    draw(aligned, png())
    assert aligned._grid.ids[0] == retriever.ids[7] and ", aligned" in aligned._status.text
    aligned._aligned.value = False
    plain = retriever.search(pixels_of(png()), k=3).ids[0].tolist()
    assert aligned._grid.ids == plain and "not aligned" in aligned._status.text
    assert aligned.search(pixels_of(png()), aligned=True).ids[0][0] == retriever.ids[7]
    assert aligned._aligned.value


def test_an_estimator_aligns_too_and_a_bad_one_is_told(retriever):
    class Shift:
        def transform(self, vectors):
            return vectors[:, :-1]

    explorer = SketchExplorer(retriever, align=Shift(), k=3)
    draw(explorer, png())
    assert explorer._status.problem and explorer.found is None


def test_a_drawing_of_ones_own_lies_on_the_paper(retriever, tmp_path):
    (tmp_path / "mine.png").write_bytes(png())
    explorer = SketchExplorer(retriever, drawing=tmp_path / "mine.png", k=3)
    assert "mine.png" in explorer._status.text and explorer._pad.image
    before = explorer.found
    with pytest.raises(ValueError, match="nobody"):
        explorer.search("nobody.png")
    assert explorer.found is before
    indexed = str(retriever.ids[3])
    assert explorer.search(indexed).ids[0][0] != indexed  # itself is left out


def test_bad_arguments_are_refused(retriever):
    with pytest.raises(TypeError, match="Retriever"):
        SketchExplorer(3)
    with pytest.raises(ValueError, match="k must"):
        SketchExplorer(retriever, k=0)
    with pytest.raises(TypeError, match="align"):
        SketchExplorer(retriever, align=3)


def test_static_picture_holds_drawing_neighbours_and_hostile_text(retriever):
    explorer = SketchExplorer(retriever, drawing=retriever.images["p/1.jpg"], k=3)
    figure = explorer.static()
    told = figure.axes[0].get_label()
    assert HOSTILE.split(">")[0] in told and len(figure.axes[0].images) == 1 + 3
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == told
