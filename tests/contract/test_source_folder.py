"""Where a job finds its months: in a folder, or on a site from which they are fetched first."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chillflow.download import Pace
from chillflow.errors import MonthsFailed, SourceMissing, SourceUnreadable
from chillflow.jobs.fetching import Shelf, fetched
from chillflow.jobs.outcomes import Outcomes
from chillflow.jobs.plan import within
from chillflow.jobs.session import source_folder
from chillflow.months import parse_months
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.sources import open_input, stat
from tests.download_samples import DATA, NEWER
from tests.fix_s3 import S3Server
from tests.fix_site import Answer, Site, site

__all__ = ["site"]

MONTHS = parse_months("2019-01..2019-03")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.read({"CHILLFLOW_HOME": str(tmp_path / "home"), "CHILLFLOW_SOURCE": str(tmp_path / "mine")})


@pytest.fixture
def outcomes() -> Iterator[Outcomes]:
    with Reporter() as reporter:
        yield Outcomes(reporter, len(MONTHS))


def test_a_folder_is_taken_as_it_is(settings: Settings, outcomes: Outcomes, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()
    assert source_folder(settings, None, "yellow", MONTHS, outcomes) == (str(tmp_path / "mine"), MONTHS)
    other = str(tmp_path / "other")
    assert source_folder(settings, other, "yellow", MONTHS, outcomes) == (other, MONTHS)


def test_a_site_is_fetched_from_and_months_that_fail_are_left_out(
    settings: Settings, outcomes: Outcomes, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files = {"yellow_tripdata_2019-01.parquet": DATA, "yellow_tripdata_2019-03.parquet": NEWER}
    folder, months = source_folder(settings, site.url, "yellow", MONTHS, outcomes)
    assert list(months) == [MONTHS[0], MONTHS[2]]
    with pytest.raises(MonthsFailed, match="1 of 3 months failed"), outcomes:
        pass
    assert folder == str(settings.home / "raw")
    assert (Path(folder) / "yellow_tripdata_2019-03.parquet").read_bytes() == NEWER
    assert f"yellow 2019-02: failed: {site.url}/yellow_tripdata_2019-02.parquet is not" in capsys.readouterr().err


def test_a_month_is_fetched_when_it_is_asked_for(settings: Settings, outcomes: Outcomes, site: Site) -> None:
    site.files = {"yellow_tripdata_2019-01.parquet": DATA, "yellow_tripdata_2019-02.parquet": DATA}
    _, months = source_folder(settings, site.url, "yellow", MONTHS[:2], outcomes)
    left = iter(months)
    assert next(left) == MONTHS[0]
    assert not (settings.home / "raw" / "yellow_tripdata_2019-02.parquet").exists()
    assert next(left) == MONTHS[1]


def test_without_its_site_what_was_fetched_before_is_used(
    outcomes: Outcomes, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files = {f"yellow_tripdata_{month}.parquet": DATA for month in MONTHS}
    assert list(fetched(site.url, "yellow", MONTHS, Shelf(tmp_path), outcomes)) == list(MONTHS)
    changed = bytearray(DATA)
    changed[len(DATA) // 2] ^= 1
    (tmp_path / "yellow_tripdata_2019-02.parquet").write_bytes(changed)
    note = tmp_path / "yellow_tripdata_2019-02.parquet.source.json"
    note.touch()  # as if the file had been there when the note was written
    site.always = Answer(503)
    slept: list[float] = []
    pace = Pace(tries=3, sleep=slept.append)
    assert list(fetched(site.url, "yellow", MONTHS, Shelf(tmp_path), outcomes, pace)) == [MONTHS[0], MONTHS[2]]
    said = capsys.readouterr().err
    assert "yellow 2019-01: warning: cannot download" in said
    assert "yellow_tripdata_2019-03.parquet, fetched before, is used as it is" in said
    assert "yellow 2019-02: failed: cannot download" in said
    assert outcomes.any_failed
    assert len(slept) == 4  # twice for the first, twice for the one without a file, once tried for the last


def test_a_folder_that_cannot_be_listed_stops_the_job(settings: Settings, outcomes: Outcomes, tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="mine does not exist; fetch it"):
        source_folder(settings, None, "yellow", MONTHS, outcomes)
    (tmp_path / "mine").touch()
    with pytest.raises(SourceUnreadable, match="mine cannot be read"):
        source_folder(settings, None, "yellow", MONTHS, outcomes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_protected_folder_stops_the_job(settings: Settings, outcomes: Outcomes, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o000)
    with pytest.raises(SourceUnreadable, match="permission denied"):
        source_folder(settings, None, "yellow", MONTHS, outcomes)


def test_fetched_months_lie_in_an_object_store_where_all_machines_read_them(
    outcomes: Outcomes, site: Site, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    names = [f"yellow_tripdata_2019-0{month}.parquet" for month in (1, 2)]
    site.files = dict(zip(names, (DATA, NEWER), strict=True))

    def fetch(home: str) -> None:
        settings = Settings.read({"CHILLFLOW_HOME": str(tmp_path / home), "CHILLFLOW_RAW": store})
        folder, _ = source_folder(settings, site.url, "yellow", MONTHS[:2], outcomes)
        assert folder == store
        months = fetched(site.url, "yellow", MONTHS[:2], Shelf.of(settings), outcomes, Pace(tries=1))
        assert list(months) == list(MONTHS[:2])

    store = s3.uri(f"{bucket}/raw")
    uris = [within(store, name) for name in names]
    fetch("one machine")
    assert [bytes(open_input(uri).read()) for uri in uris] == [DATA, NEWER]
    before = [stat(uri) for uri in uris]

    fetch("one machine")
    fetch("another machine")
    assert [stat(uri) for uri in uris] == before
    assert len(site.asked(names[0])) == 3
    assert all("If-None-Match" in request.headers for request in site.asked(names[0])[1:])

    site.always = Answer(503)
    fetch("a machine whose site is away")

    site.always, site.files[names[1]] = None, DATA
    fetch("another machine")
    assert bytes(open_input(uris[1]).read()) == DATA
    assert stat(uris[0]) == before[0]
