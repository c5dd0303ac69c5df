"""Imports point down: docs/architecture.md draws the layers, and the code is held to the drawing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
DRAWING = (REPO / "docs/architecture.md").read_text()
FILES = sorted((REPO / "chillflow").rglob("*.py"))
LAYERS = [line.split() for line in re.findall(r"^```\n(.*?)^```", DRAWING, re.S | re.M)[0].splitlines()]
SIDEWAYS = set(re.findall(r"^\| (\w+) -> (\w+) \|", DRAWING, re.M))

PURE = {
    "assembly", "curation", "events", "fixes", "kpis", "manifests", "months", "ownership", "pairs", "positions",
    "quality", "reconciliation", "synth", "trips", "zones",
}  # fmt: skip
DRIVERS = {"boto3", "confluent_kafka", "pgpq", "psycopg", "pyarrow.fs", "redis", "yoyo"}
LIBRARIES = {
    "bisect", "collections", "csv", "dataclasses", "datetime", "decimal", "enum", "functools", "heapq", "importlib",
    "itertools", "json", "math", "msgspec", "numpy", "operator", "pathlib", "polars", "polars_hash", "pyarrow", "re",
    "statistics", "typing", "uuid",
}  # fmt: skip
"""What a kernel may import beside kernels: nothing with a clock of its own, an environment or a network."""
CLOCK = {"now", "today", "utcnow"}
READERS_OF_SETTINGS = {"cli", "commands", "demo", "jobs"}
WITH_RAY = {"actors", "jobs"}
MOST_LINES = 350


def home(module: str) -> str:
    """The layer's entry that a module belongs to: `chillflow.stores.lake` is in `stores`."""
    return module.split(".")[1] if "." in module else module


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it; `from a import b` gives `a.b` where that is a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if is_module(f"{node.module}.{alias.name}") else str(node.module)


def is_module(name: str) -> bool:
    place = REPO.joinpath(*name.split("."))
    return name in DRIVERS or place.is_dir() or place.with_suffix(".py").is_file()


def own_imports(file: Path) -> Iterator[str]:
    """The layers' entries that a file imports, its own left out."""
    mine = home(name_of(file))
    for module in imported(file):
        if module.startswith("chillflow.") and home(module) != mine:
            yield home(module)


def attributes(file: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]


def comes_from(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def floor(entry: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if entry in layer)


every_file = pytest.mark.parametrize("file", FILES, ids=name_of)


def test_each_module_has_its_place_in_the_drawing() -> None:
    drawn = [entry for layer in LAYERS for entry in layer]
    assert sorted(drawn) == sorted({home(name_of(file)) for file in FILES} - {"chillflow"})


def test_sideways_imports_stay_on_their_floor_and_are_used() -> None:
    used = {(home(name_of(file)), other) for file in FILES for other in own_imports(file)}
    assert {pair for pair in used if floor(pair[0]) == floor(pair[1])} == SIDEWAYS


@every_file
def test_imports_point_down(file: Path) -> None:
    mine = home(name_of(file))
    upward = {other for other in own_imports(file) if floor(other) < floor(mine)}
    assert not upward, f"{mine} is below {upward}"


@every_file
def test_ray_is_imported_in_jobs_and_actors_only(file: Path) -> None:
    assert home(name_of(file)) in WITH_RAY or not any(comes_from(module, {"ray"}) for module in imported(file))


@every_file
def test_drivers_are_imported_in_stores_only(file: Path) -> None:
    found = {module for module in imported(file) if comes_from(module, DRIVERS)}
    found |= {ast.unparse(node) for node in attributes(file)} & {"pa.fs", "pyarrow.fs"}
    assert home(name_of(file)) == "stores" or not found


@every_file
def test_settings_are_read_by_commands_and_jobs_only(file: Path) -> None:
    assert home(name_of(file)) in READERS_OF_SETTINGS or "settings" not in set(own_imports(file))


@pytest.mark.parametrize("file", [file for file in FILES if home(name_of(file)) in PURE], ids=name_of)
def test_a_kernel_knows_no_clock_environment_or_driver(file: Path) -> None:
    foreign = {module for module in imported(file) if not comes_from(module, {"chillflow"} | LIBRARIES)}
    assert not foreign, f"{foreign}: if it is pure, add it to LIBRARIES"
    assert set(own_imports(file)) <= PURE | {"errors"}, "a kernel imports kernels"
    assert not {ast.unparse(node) for node in attributes(file) if node.attr in CLOCK}


@every_file
def test_a_module_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MOST_LINES
