"""The README's pictures come from the outputs of tagged cells."""

import base64

import gallery
import nbformat


def built(*tags):
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(b"picture").decode()})
    cell = nbformat.v4.new_code_cell("draw()", outputs=[output], metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text"), cell])


def test_only_tagged_cells_give_pictures():
    assert gallery.pictures(built("gallery"), "00_a") == [("00_a_1.png", b"picture")]
    assert gallery.pictures(built("claim"), "00_a") == []


def test_refresh_writes_what_differs_and_says_so(tmp_path):
    path = tmp_path / "docs" / "images" / "00_a_1.png"
    assert not gallery.refresh(built("gallery"), "00_a", tmp_path, write=False) and not path.exists()
    assert not gallery.refresh(built("gallery"), "00_a", tmp_path) and path.read_bytes() == b"picture"
    assert gallery.refresh(built("gallery"), "00_a", tmp_path)
