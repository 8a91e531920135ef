"""What the README says is true: its code runs, its commands and files exist."""

import re

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


NUMBER = re.compile(r"\d+\.\d+")


def test_python_blocks_run_and_print_what_is_said(tmp_path, monkeypatch, capsys):
    from PIL import Image

    photos = tmp_path / "my_photos"
    photos.mkdir()
    for i, colour in enumerate(["red", "darkred", "blue", "navy"] * 3):
        Image.new("RGB", (40 + i, 30), colour).save(photos / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    assert [language for language, _ in BLOCKS if language in ("python", "text")] == [
        "python",
        "text",
        "python",
    ]
    (first, said, second) = (code for language, code in BLOCKS if language in ("python", "text"))
    names = {}
    exec(compile(first, "README.md", "exec"), names)  # noqa: S102 (running it is the test)
    printed = capsys.readouterr().out
    assert NUMBER.sub("", printed).split() == NUMBER.sub("", said).split()
    ours, theirs = ([float(value) for value in NUMBER.findall(text)] for text in (printed, said))
    assert ours == pytest.approx(theirs, abs=0.02)  # processors and versions differ a little
    assert names["ranking"].k == 10
    exec(compile(second, "README.md", "exec"), names)  # noqa: S102
    assert ".jpg" in capsys.readouterr().out

    by_colour = names["Retriever"](names["encoders"].ColorHistogram(), progress=False).fit(
        names["database"]
    )
    colour = names["evaluate"](by_colour.search(names["queries"], k=10), names["truth"])["map@10"]
    assert (
        ours[0] >= 0.6 and colour < ours[0] - 0.2
    )  # the network finds the right ones; it takes more than colour


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"lab", "test"} <= named <= targets


def test_subcommands_exist():
    from cbirkit.cli import build_parser

    text = build_parser().format_help()
    for name in set(
        re.findall(r"^cbirkit ([a-z]+)", "\n".join(code for _, code in BLOCKS), flags=re.MULTILINE)
    ):
        assert name in text


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:\]\(|(?:src|href)=\")(?!http|#)([^)#\"]+)", README)))
)
def test_linked_files_exist(target):
    assert (ROOT / target).exists(), f"the README links to {target}, which is not there"
