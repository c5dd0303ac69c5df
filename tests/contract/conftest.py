"""Fixtures of the contract suites."""

from pathlib import Path

import pytest

from chillflow.stores.lake import Lake
from tests.fix_s3 import S3Server, bucket, s3

__all__ = ["bucket", "lake", "lake_uri", "s3"]


@pytest.fixture(params=["a folder", "a file URI", "S3"])
def lake_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty lake's place: a path with spaces, the same as a URI, and a prefix with a space in a bucket."""
    folder = tmp_path / "a lake" / "of trips"
    if request.param == "a folder":
        return str(folder)
    if request.param == "a file URI":
        return folder.as_uri()
    server: S3Server = request.getfixturevalue("s3")
    return server.uri(request.getfixturevalue("bucket") + "/of%20trips")


@pytest.fixture
def lake(lake_uri: str) -> Lake:
    return Lake(lake_uri)
