"""requirements.lock pins what pyproject.toml asks for, for every Python and platform that is supported."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPO = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
LOCK = (REPO / "requirements.lock").read_text()
PINS = [Requirement(line.removesuffix(" \\")) for line in re.findall(r"^[a-z].*", LOCK, re.M)]
ASKED = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in texts
]
PYTHONS = ("3.11", "3.12", "3.13")


def machine(python: str, platform: str) -> Environment:
    system = {"linux": "Linux", "darwin": "Darwin"}[platform]
    return default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.7",
        "sys_platform": platform,
        "platform_system": system,
    }  # type: ignore[return-value]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_pythons_are_those_that_the_package_allows() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in (f"3.{number}" for number in range(9, 20)) if f"{minor}.7" in allowed] == list(PYTHONS)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_one_pin_satisfies_each_requirement(asked: Requirement, python: str, platform: str) -> None:
    here = machine(python, platform)
    pins = [
        pin for pin in PINS if plain(pin.name) == plain(asked.name) and (not pin.marker or pin.marker.evaluate(here))
    ]
    assert len(pins) == 1, "run `make lock`"
    (pinned,) = pins[0].specifier
    assert pinned.operator == "=="
    assert asked.specifier.contains(pinned.version, prereleases=True), "run `make lock`"


def test_each_pin_has_a_hash() -> None:
    entries = re.split(r"^(?=[a-z])", LOCK, flags=re.M)[1:]
    assert len(entries) == len(PINS)
    assert not [entry.splitlines()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)]


def test_the_lock_names_no_host() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*--(?!hash=)", LOCK, re.M)
