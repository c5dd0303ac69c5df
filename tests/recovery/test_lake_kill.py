"""A curation killed at any moment leaves the month before or the month after, and rubbish that a sweep removes."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chillflow.manifests import KINDS, Manifest
from chillflow.stores.folders import Folder
from chillflow.stores.lake import Lake
from tests.fix_s3 import S3Server, bucket, s3
from tests.lake_samples import BEGAN, DAY, MONTH, publish
from tests.recovery.lake_writer import version

__all__ = ["bucket", "s3"]

ROOT = Path(__file__).parents[2]
WRITER = [sys.executable, "-m", "tests.recovery.lake_writer"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def seen(lake: Lake) -> int:
    """The version that readers see; fails if it is a mixture or damaged."""
    manifest = lake.manifest("yellow", MONTH)
    assert manifest is not None
    number = manifest.trips - 20
    expected = version(number)
    for kind in expected:
        counts = [table["passenger_count"].to_pylist() for entry in manifest.of(kind) for table in _read(lake, entry)]
        assert [count for part in counts for count in part] == [number] * (20 + number)
    return number


def _read(lake: Lake, entry: object) -> Iterator[object]:
    return lake.read_file(entry, verify=True)  # type: ignore[arg-type]


def files(uri: str) -> set[str]:
    return {name for name, size in Folder(uri).entries(recursive=True) if size is not None}


def named(manifest: Manifest | None) -> set[str]:
    """All that a lake with this one month should hold."""
    assert manifest is not None
    return {f"yellow/{MONTH}/manifest.json", *(entry.path for kind in KINDS for entry in manifest.of(kind))}


def test_killed_before_every_touch_of_the_disk(tmp_path: Path) -> None:
    publish(Lake(tmp_path / "before"), version(1), 1)
    subprocess.run([*WRITER, str(tmp_path), "every-step"], cwd=ROOT, env=ENVIRONMENT, check=True)
    tried = sorted(path for path in tmp_path.iterdir() if path.name != "before")
    found = [seen(Lake(path)) for path in tried]
    assert found == sorted(found)
    assert found.count(1) > 20
    assert found.count(2) > 1, "a kill after the manifest has committed"
    for path in tried:
        lake = Lake(path)
        lake.sweep(DAY, now=BEGAN + 2 * DAY)
        assert files(str(path)) == named(lake.manifest("yellow", MONTH))
        publish(lake, version(3), 3)
        assert seen(lake) == 3


@pytest.mark.parametrize("place", ["folder", "S3"])
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_while_others_read(
    place: str, seed: int, tmp_path: Path, s3: S3Server, request: pytest.FixtureRequest
) -> None:
    uri = str(tmp_path) if place == "folder" else s3.uri(request.getfixturevalue("bucket") + "/lake")
    lake = Lake(uri)
    with writing(uri):
        for _ in range(random.Random(seed).randint(1, 12)):
            seen(lake)
    left = seen(lake)
    lake.sweep(DAY, now=BEGAN + 2 * DAY)
    assert seen(lake) == left
    assert files(uri) == named(lake.manifest("yellow", MONTH))


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """A process that commits version after version, killed at the end; begins after the first one."""
    writer = subprocess.Popen([*WRITER, uri], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == b"0\n"
        yield
        assert writer.poll() is None, "it ended by itself"
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
