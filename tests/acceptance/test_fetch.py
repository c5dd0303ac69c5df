"""`chillflow fetch` as its users run it, against a site on loopback."""

import os
import signal
import time
from pathlib import Path

import pytest

from chillflow.months import Month
from chillflow.stores.lake import Lake
from chillflow.stores.sources import SIDECAR
from chillflow.synth import write_month
from tests.download_samples import DATA, NEWER
from tests.fix_embedded import GIVEN, Cli
from tests.fix_site import Answer, Site, site

__all__ = ["site"]

NAMES = [f"yellow_tripdata_2019-0{number}.parquet" for number in (1, 2, 3)]
PATIENCE = 60


@pytest.fixture
def shell(site: Site, tmp_path: Path) -> Cli:
    """The CLI with a home of its own and without services; the site is its source."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}
    return Cli(env | {"CHILLFLOW_HOME": str(tmp_path / "home"), "CHILLFLOW_SOURCE": site.url})


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(SIDECAR)}


def test_a_month_that_fails_does_not_stop_the_others(shell: Cli, site: Site, tmp_path: Path) -> None:
    site.files = {NAMES[0]: DATA, NAMES[2]: NEWER}

    done = shell.run("fetch", "yellow", "2019-01..2019-03", code=1)

    raw = tmp_path / "home" / "raw"
    lines = done.stderr.splitlines()
    assert done.stdout == ""
    assert files(raw) == site.files
    assert lines[0].startswith("yellow 2019-01: fetched 0.4 MB in ")
    assert lines[0].endswith(f"to {raw / NAMES[0]}")
    assert lines[1].startswith(f"yellow 2019-02: failed: {site.url}/{NAMES[1]} is not published; ")
    assert lines[2].startswith("yellow 2019-03: fetched")
    assert lines[3:] == [
        "3 months: 2 fetched (0.8 MB), 0 unchanged, 1 failed",
        "chillflow: 1 of 3 months failed, the others are done; mend what the lines above name and run the same command "
        "again",
    ]


def test_again_and_nothing_is_fetched(shell: Cli, site: Site, tmp_path: Path) -> None:
    site.files = {NAMES[0]: DATA}
    there = "--to", str(tmp_path / "my files")
    shell.run("fetch", "yellow", "2019-01", *there)

    again = shell.run("fetch", "yellow", "2019-01", *there)

    assert "yellow 2019-01: unchanged at its source, 0.4 MB" in again.stderr
    assert "1 months: 0 fetched (0.0 MB), 1 unchanged, 0 failed" in again.stderr
    assert files(tmp_path / "my files") == site.files


def test_a_retry_is_told(shell: Cli, site: Site) -> None:
    site.files = {NAMES[0]: DATA}
    site.script[NAMES[0]] = [Answer(cut=300_000)]
    done = shell.run("fetch", "yellow", "2019-01")
    assert "yellow 2019-01: the connection was cut; again in 1 s" in done.stderr


def test_an_interrupted_download_goes_on_where_it_stopped(shell: Cli, site: Site, tmp_path: Path) -> None:
    site.files = {NAMES[0]: DATA}
    site.script[NAMES[0]] = [Answer(cut=300_000, ending="silent")]
    raw = tmp_path / "home" / "raw"
    part = raw / f"{NAMES[0]}.part"

    fetching = shell.start("fetch", "yellow", "2019-01")
    deadline = time.monotonic() + PATIENCE
    while not (part.exists() and part.stat().st_size > 200_000):
        assert time.monotonic() < deadline, "the part does not grow"
        assert fetching.poll() is None, fetching.communicate()
        time.sleep(0.01)
    fetching.send_signal(signal.SIGINT)
    _, talk = fetching.communicate(timeout=PATIENCE)

    assert fetching.returncode == 1
    assert "Aborted" in talk
    assert "Traceback" not in talk
    size = part.stat().st_size
    shell.run("fetch", "yellow", "2019-01")
    assert site.asked(NAMES[0])[-1].range == f"bytes={size}-"
    assert files(raw) == site.files


def test_a_folder_that_cannot_be_written_is_named(shell: Cli, site: Site, tmp_path: Path) -> None:
    site.files = {NAMES[0]: DATA}
    (tmp_path / "file").touch()
    done = shell.run("fetch", "yellow", "2019-01", "--to", str(tmp_path / "file" / "raw"), code=1)
    assert "file/raw: not a directory; free some space, or choose another folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("yellow", "2019-13"), "cannot read '2019-13' as months: there is no month 13"),
        (("yellow", "2019-06..2019-01"), "2019-01 comes before 2019-06"),
        (("blue", "2019-01"), "'blue' is not one of 'yellow', 'green'"),
        (("yellow", "2019-01", "--source", "some/folder"), "'some/folder' is no web address to download from"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_asked(
    shell: Cli, site: Site, arguments: tuple[str, ...], message: str
) -> None:
    done = shell.run("fetch", *arguments, code=2)
    assert message in done.stderr
    assert site.requests == []


def test_a_job_fetches_from_a_site_and_goes_on_without_what_is_missing(cli: Cli, site: Site, tmp_path: Path) -> None:
    made = write_month("yellow", Month(2019, 1), 2_000, 5, tmp_path, 1_000)
    site.files = {NAMES[0]: made.path.read_bytes()}
    shell = cli.given(CHILLFLOW_SOURCE=site.url, NO_PROXY="127.0.0.1")

    first = shell.run("curate", "yellow", "2019-01,2019-02", code=1)
    again = shell.run("curate", "yellow", "2019-01")

    assert "yellow 2019-01: fetched" in first.stderr
    assert "yellow 2019-01: curated 2,000 rows" in first.stderr
    assert "yellow 2019-02: failed" in first.stderr
    assert "1 of 2 months failed" in first.stderr
    assert "unchanged at its source" in again.stderr
    assert "curated already" in again.stderr
    manifest = Lake(shell.env["CHILLFLOW_LAKE"]).manifest("yellow", Month(2019, 1))
    assert manifest is not None
    assert (manifest.source.url, manifest.source.etag) == (f"{site.url}/{NAMES[0]}", site.etag(NAMES[0]))
