"""pyproject.toml, environment.yml and the README say the same about what is needed; Binder-like services can build it."""

import re
import tomllib

import yaml
from conftest import ROOT

CONDA_NAMES = {"python-annoy": "annoy"}  # conda-forge's name: PyPI's
PROCESSOR_ONLY = "--extra-index-url https://download.pytorch.org/whl/cpu"


def bounds(lines):
    """{package: lower bound} of requirement lines such as ``numpy>=1.26``."""
    pairs = (re.fullmatch(r"([A-Za-z0-9-]+)(?:>=([0-9.]+))?", line) for line in lines)
    return {CONDA_NAMES.get(m[1], m[1]): m[2] for m in pairs}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def environment():
    """Lines for conda, and lines for pip."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [line["pip"] for line in lines if isinstance(line, dict)]
    return [line for line in lines if isinstance(line, str)], pip


def test_environment_yml_agrees_with_pyproject():
    stated = project()
    extras = stated["optional-dependencies"]
    wanted = bounds(
        stated["dependencies"]
        + [line for name in ("lab", "text", "device", "scale", "annoy") for line in extras[name]]
    )
    conda, pip = environment()
    python = [line for line in conda if line.startswith("python=")]
    assert pip[0] == PROCESSOR_ONLY and pip[-1] == "-e .[lab,text,device,scale,test]"
    found = bounds([line for line in conda if line not in python] + pip[1:-1])
    found.pop("pip")
    assert found == wanted


def test_binder_like_services_build_from_the_root():
    """The rules of repo2docker, "Configuration files"."""
    for folder in ("binder", ".binder"):
        assert not (ROOT / folder).exists(), (
            f"with {folder}/ the files of the root would not be read"
        )
    first = "Dockerfile Project.toml JuliaProject.toml REQUIRE DESCRIPTION install.R runtime.txt default.nix"
    for name in first.split():
        assert not (ROOT / name).exists(), f"{name} would be read instead of environment.yml"
    conda, pip = environment()
    # Nothing but "python=3.N" is read as a version; else the image starts with the oldest Python there is.
    (python,) = [m[1] for line in conda if (m := re.match(r"python\s*=+\s*([\d.]*)", line))]
    major, minor = map(int, python.split("."))
    least = project()["requires-python"].removeprefix(">=")
    assert (major, minor) >= tuple(map(int, least.split(".")))
    assert [line for line in pip if line.startswith("-e ")] == [
        "-e .[lab,text,device,scale,test]"
    ]  # the whole repository is there by then


def test_packages_come_from_public_places_only():
    text = (ROOT / "environment.yml").read_text()
    assert re.findall(r"https?://[^/\s]+", text) == ["https://download.pytorch.org"]
    assert yaml.safe_load(text)["channels"] == ["conda-forge"]


def test_only_lower_bounds():
    stated = project()
    for lines in [stated["dependencies"], *stated["optional-dependencies"].values()]:
        for line in lines:
            assert re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+", line), (
                f"{line}: give one lower bound and nothing else"
            )


def test_makefile_and_readme_name_the_extras_that_exist():
    extras = set(project()["optional-dependencies"])
    for name in ("Makefile", "README.md"):
        text = (ROOT / name).read_text()
        named = {e for group in re.findall(r"\.\[([a-z,]+)\]", text) for e in group.split(",")}
        assert named and named <= extras, f"{name} names extras {named}, pyproject has {extras}"
