"""pyproject.toml, environment.yml and the README say the same about what is needed."""

import re
import tomllib

import yaml
from conftest import ROOT

CONDA_NAMES = {"python-annoy": "annoy"}  # conda-forge's name: PyPI's


def bounds(lines):
    """{package: lower bound} of requirement lines such as ``numpy>=1.26``."""
    pairs = (re.fullmatch(r"([A-Za-z0-9-]+)(?:>=([0-9.]+))?", line) for line in lines)
    return {CONDA_NAMES.get(m[1], m[1]): m[2] for m in pairs}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_agrees_with_pyproject():
    stated = project()
    extras = stated["optional-dependencies"]
    wanted = bounds(stated["dependencies"] + extras["lab"] + extras["annoy"])
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = [line for line in lines if isinstance(line, str)]
    (pip,) = [line["pip"] for line in lines if isinstance(line, dict)]
    assert pip[-1] == "-e .[lab,test]"
    found = bounds(conda + pip[:-1])
    assert found.pop("python") == stated["requires-python"].removeprefix(">=")
    found.pop("pip")
    assert found == wanted


def test_only_lower_bounds():
    stated = project()
    for lines in [stated["dependencies"], *stated["optional-dependencies"].values()]:
        for line in lines:
            assert re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+", line), f"{line}: give one lower bound and nothing else"


def test_makefile_and_readme_name_the_extras_that_exist():
    extras = set(project()["optional-dependencies"])
    for name in ("Makefile", "README.md"):
        text = (ROOT / name).read_text()
        named = {e for group in re.findall(r"\.\[([a-z,]+)\]", text) for e in group.split(",")}
        assert named and named <= extras, f"{name} names extras {named}, pyproject has {extras}"
