"""A download into a folder from the site of fix_site, with its waits written down instead of waited."""

import pickle
import random
from pathlib import Path

import pytest

from chillflow.download import Fetched, Pace, Watcher, fetch_month
from chillflow.errors import ChillFlowError
from chillflow.months import Month
from chillflow.stores.sources import SIDECAR
from tests.fix_site import Answer, Site, site

__all__ = ["BROKEN", "DATA", "DROPPED", "MONTH", "NAME", "NEWER", "SURE", "Download", "download", "site"]

MONTH = Month(2024, 1)
NAME = "green_tripdata_2024-01.parquet"
SURE = "green_tripdata_2019-01.parquet"
DATA = b"PAR1" + random.Random(1).randbytes(400_000) + b"PAR1"
NEWER = b"PAR1" + random.Random(2).randbytes(420_000) + b"PAR1"
BROKEN = Answer(500, b"oops")
DROPPED = Answer(cut=300_000)


class Download:
    """A month's download into a folder, whose waits are written down instead of waited."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.target = folder / NAME
        self.part = folder / f"{NAME}.part"
        self.waits: list[float] = []
        self.reads = 30.0

    def __call__(self, watcher: Watcher | None = None, url: str = "") -> Fetched:
        pace = Pace(tries=4, sleep=self.waits.append, dice=lambda: 1.0, connect=30.0, read=self.reads)
        return fetch_month(url or self.site.url, "green", MONTH, self.folder, watcher, pace)

    def fails(self, kind: type[ChillFlowError], match: str) -> None:
        with pytest.raises(kind, match=match) as caught:
            self()
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        assert NAME in str(caught.value)

    @property
    def ranges(self) -> list[str | None]:
        return [request.range for request in self.site.asked(NAME)]

    @property
    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def is_done(self, data: bytes = DATA) -> bool:
        return self.target.read_bytes() == data and self.left == {NAME, NAME + SIDECAR}


@pytest.fixture
def download(site: Site, tmp_path: Path) -> Download:
    site.files = {NAME: DATA, SURE: NEWER}
    return Download(site, tmp_path / "raw data")
