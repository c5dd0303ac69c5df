"""Manifests: what they refuse to say, and what they look like on disk."""

import datetime as dt
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.errors import LakeCorrupt, LakeTooNew
from chillflow.manifests import FORMAT, FileEntry, Kind, attempt_name, attempt_started, decode, encode
from tests.lake_samples import BEGAN, MONTH, manifest, name

FOLDER = f"yellow/{MONTH}/{name()}"
SHA = "0" * 64


def entry(kind: Kind = "trips", part: int = 0, rows: int = 5, folder: str = FOLDER) -> FileEntry:
    return FileEntry(kind, f"{folder}/{kind}-{part:05d}.parquet", rows, 100, SHA)


FILES = (entry(), entry(part=1), entry("quarantine", rows=2), entry("adjustments", rows=1), entry("kpis", rows=7))


def test_a_manifest_survives_json() -> None:
    told = manifest(FILES)
    assert decode(encode(told), "m") == told
    assert told.rows_in == 13


def test_the_json_is_what_the_documentation_shows() -> None:
    told = json.loads(encode(manifest(FILES[:1], flags={})))
    assert told == {
        "format": 1,
        "service": "yellow",
        "month": "2019-01",
        "attempt": "20260101T120000Z-try0",
        "files": [
            {
                "kind": "trips",
                "path": "yellow/2019-01/20260101T120000Z-try0/trips-00000.parquet",
                "rows": 5,
                "bytes": 100,
                "sha256": SHA,
            }
        ],
        "rows_in": 5,
        "trips": 5,
        "quarantined": 0,
        "adjustments": 0,
        "rules": {"reversal": 0, "no_movement": 0},
        "flags": {},
        "source": {
            "path": "/data/yellow_tripdata_2019-01.parquet",
            "size": 1000,
            "modified": "2025-12-31T12:00:00Z",
            "etag": "abc",
            "url": None,
            "sha256": None,
        },
        "code_version": "0.1.0",
        "rules_version": 1,
        "written_at": "2026-01-01T12:00:00Z",
        "seconds": 1.5,
        "warnings": ["column `new` is not known"],
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trips": 9}, "9 rows of trips are told, its files hold 10"),
        ({"quarantined": 0}, "0 rows of quarantine are told, its files hold 2"),
        ({"adjustments": 2}, "2 rows of adjustments are told, its files hold 1"),
        ({"rows_in": 14}, "14 rows came in, 13 are accounted for"),
        ({"attempt": "mine"}, "'mine' is no name of an attempt"),
        ({"attempt": name(1)}, "does not lie in yellow/2019-01/20260101T120000Z-try1/"),
        ({"service": "green"}, "does not lie in green/"),
        ({"month": "2019-02"}, "does not lie in yellow/2019-02/"),
    ],
)
def test_a_manifest_that_does_not_add_up_cannot_be_made(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        manifest(FILES, **changes)


def test_no_file_is_named_twice() -> None:
    with pytest.raises(ValueError, match="named twice"):
        manifest((entry(), entry()))


def test_no_file_lies_deeper_or_elsewhere() -> None:
    for path in (f"{FOLDER}/deeper/trips-00000.parquet", f"{FOLDER}/../x.parquet", "/etc/trips-00000.parquet"):
        with pytest.raises(ValueError, match="does not lie in"):
            manifest((FileEntry("trips", path, 5, 100, SHA),), attempt=name(), service="yellow", month=str(MONTH))


def test_files_of_a_kind_come_in_the_order_of_their_parts() -> None:
    told = manifest(tuple(reversed(FILES)))
    assert told.of("trips") == (entry(), entry(part=1))
    assert told.of("kpis") == (entry("kpis", rows=7),)


def _spoilt(**changes: object) -> bytes:
    return json.dumps(json.loads(encode(manifest(FILES))) | changes).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b"<?xml version='1.0'?>",
        encode(manifest(FILES))[:-40],
        _spoilt(surprise=1),
        _spoilt(trips=9),
        _spoilt(rows_in=-1),
        _spoilt(rows_in="13"),
        _spoilt(month="January"),
        _spoilt(written_at="2026-01-01T12:00:00"),
        _spoilt(format="one"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(LakeCorrupt, match=r"/lake/manifest\.json is damaged: .*--force") as caught:
        decode(data, "/lake/manifest.json")
    assert "it is no manifest" in caught.value.why


def test_a_later_format_is_refused_with_the_way_out() -> None:
    with pytest.raises(LakeTooNew, match="/m has format 2, this ChillFlow reads up to 1; update ChillFlow"):
        decode(_spoilt(format=FORMAT + 1, surprise=1), "/m")


def test_times_without_a_zone_are_refused() -> None:
    told = manifest(FILES, written_at=dt.datetime(2026, 1, 1))
    with pytest.raises(LakeCorrupt, match="timezone"):
        decode(encode(told), "m")


@given(
    st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2090, 1, 1), timezones=st.timezones()),
    st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12),
)
def test_an_attempts_name_tells_when_it_began(started: dt.datetime, suffix: str) -> None:
    told = attempt_started(attempt_name(started, suffix))
    assert told == started.astimezone(dt.UTC).replace(microsecond=0)


@pytest.mark.parametrize("suffix", ["", "A", "a/b", "../x", "a-b", "a\n"])
def test_an_attempts_suffix_is_plain(suffix: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters and digits"):
        attempt_name(BEGAN, suffix)


@pytest.mark.parametrize("other", ["", "manifest.json", "20260101T120000Z", "20260101-a", "99999999T999999Z-a"])
def test_other_names_are_no_attempts(other: str) -> None:
    assert attempt_started(other) is None


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        manifest(FILES).trips = 0  # type: ignore[misc]
    assert msgspec.structs.replace(manifest(FILES), seconds=2.0).seconds == 2.0
