"""The README's pictures come from the outputs of tagged cells."""

import base64

import gallery
import nbformat


def built(*tags, alt=""):
    picture = {"image/png": base64.b64encode(b"picture").decode()}
    output = nbformat.v4.new_output("display_data", picture, metadata={"image/png": {"alt": alt}})
    cell = nbformat.v4.new_code_cell("draw()", outputs=[output], metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text"), cell])


def test_only_tagged_cells_give_pictures():
    assert gallery.pictures(built("gallery"), "00_a") == [("00_a_1.png", b"picture")]
    assert gallery.pictures(built("claim"), "00_a") == []


def test_refresh_writes_what_differs_and_says_so(tmp_path):
    path = tmp_path / "docs" / "images" / "00_a_1.png"
    assert (
        not gallery.refresh(built("gallery"), "00_a", tmp_path, write=False) and not path.exists()
    )
    assert (
        not gallery.refresh(built("gallery"), "00_a", tmp_path) and path.read_bytes() == b"picture"
    )
    assert gallery.refresh(built("gallery"), "00_a", tmp_path)


def test_the_readme_shows_each_notebook_that_has_a_picture():
    long = built("gallery", alt="word " * 100)
    notebooks = {
        "00_start_here": long,
        "01_b": built(),
        "02_c_d": built("gallery", alt='the "first" <b>'),
    }
    tables = gallery.readme_tables(notebooks)
    assert tables["first"].count("<img") == tables["gallery"].count("<img") == 1
    assert "00_start_here" in tables["first"] and len(tables["first"]) < 600
    assert 'alt="the &quot;first&quot; &lt;b&gt;"' in tables["gallery"]
    assert (
        '<a href="notebooks/02_c_d.ipynb">02 · c d</a>' in tables["gallery"]
        and "docs/images/02_c_d_1.png" in tables["gallery"]
    )
