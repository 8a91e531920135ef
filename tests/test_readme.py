"""What the README says is true: its code runs, its commands and files exist."""

import re

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


def test_python_blocks_run(tmp_path, monkeypatch):
    from PIL import Image

    photos = tmp_path / "my_photos"
    photos.mkdir()
    for i, colour in enumerate(["red", "darkred", "blue", "navy"] * 3):
        Image.new("RGB", (40 + i, 30), colour).save(photos / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    blocks = [code for language, code in BLOCKS if language == "python"]
    assert len(blocks) >= 2
    namespace = {}
    for code in blocks:
        exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102 (running it is the test)
    assert namespace["ranking"].k == 10


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"lab", "test"} <= named <= targets


def test_subcommands_exist():
    from cbirkit.cli import build_parser

    text = build_parser().format_help()
    for name in set(re.findall(r"^cbirkit ([a-z]+)", "\n".join(code for _, code in BLOCKS), flags=re.MULTILINE)):
        assert name in text


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:\]\(|(?:src|href)=\")(?!http|#)([^)#\"]+)", README))))
def test_linked_files_exist(target):
    assert (ROOT / target).exists(), f"the README links to {target}, which is not there"
