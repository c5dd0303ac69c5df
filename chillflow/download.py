"""Downloads: a published file into a folder, verified, resumed, and only if it changed.

1. The part's note is written: which version of which URL the part is going to hold.
2. The body is appended to the part, from where an earlier try of the same version stopped.
3. The part must have the length that the server told, and begin and end as a Parquet file does.
4. The part is renamed to its target.
5. The target's note is written: URL, size, ETag, dates, SHA-256.
A crash before step 4 leaves a part that the next run goes on with; before step 5 a file that the next run replaces.
"""

import datetime as dt
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec
import requests
from requests import exceptions as faults
from urllib3.exceptions import NameResolutionError, ReadTimeoutError

from chillflow import tlc
from chillflow.errors import ChillFlowError, DownloadFailed, MonthUnpublished, SourceError, SourceMissing, Throttled
from chillflow.months import Month
from chillflow.partial import MAGIC, Partial
from chillflow.stores.folders import shown
from chillflow.stores.sources import SIDECAR, checksum, stat

SURE = Month(2019, 1)
"""A month that every site with trip records has."""

_CHUNK = 1 << 16
_HOPELESS = (faults.InvalidURL, faults.MissingSchema, faults.InvalidSchema, faults.TooManyRedirects)
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class Watcher:
    """Is told how a download goes; this one does nothing with it."""

    def moved(self, done: int, total: int | None) -> None:
        """So many bytes are there, of so many in all if the server tells."""

    def waits(self, seconds: float, why: str) -> None:
        """A try failed, the next follows."""


@dataclass(frozen=True)
class Pace:
    """How patient a download is: tries without progress, and seconds."""

    tries: int = 6
    first_wait: float = 1.0
    longest_backoff: float = 60.0
    longest_wait: float = 300.0
    connect: float = 10.0
    read: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[], float] = random.random

    def backoff(self, failures: int) -> float:
        """Seconds to wait after so many failures: twice as long each time, half of it by chance."""
        wait = min(self.first_wait * 2.0 ** (failures - 1), self.longest_backoff)
        return wait * (0.5 + 0.5 * self.dice())


@dataclass(frozen=True)
class Fetched:
    """A file that is there, its bytes, and how many seconds ago its download began; None if it was there before."""

    path: Path
    size: int
    seconds: float | None

    def __str__(self) -> str:
        megabytes = f"{self.size / 1e6:,.1f} MB"
        if self.seconds is None:
            return f"unchanged at its source, {megabytes} in {self.path}"
        return f"fetched {megabytes} in {self.seconds:.1f} s to {self.path}"


class _Again(Exception):
    """A fault that may pass; `wait` is the seconds that the server asks for."""

    def __init__(self, why: str, wait: float = 0.0, throttled: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.wait = wait
        self.throttled = throttled

    def final(self, url: str, tries: int) -> ChillFlowError:
        return Throttled(url, self.why, tries) if self.throttled else DownloadFailed(url, self.why, tries)


def is_web(source: str) -> bool:
    """Whether a source is a site, not a folder."""
    return source.lower().startswith(("http://", "https://"))


def fetch_month(
    base_url: str, service: str, month: Month, folder: Path, watcher: Watcher | None = None, pace: Pace | None = None
) -> Fetched:
    """A month's file from the site `base_url` into `folder`; raises what fetch does."""
    target = folder / tlc.file_name(service, month)
    sure = tlc.url(base_url, service, SURE if month != SURE else SURE.next)
    return fetch(tlc.url(base_url, service, month), target, sure, watcher, pace)


def kept(base_url: str, service: str, month: Month, folder: Path) -> Path | None:
    """A month's file that was fetched from this site before and is as it was then, by its size and SHA-256."""
    target = folder / tlc.file_name(service, month)
    try:
        facts = stat(target)
        same = facts.url == shown(tlc.url(base_url, service, month)) and facts.sha256 == checksum(target)
    except SourceError:
        return None
    return target if same else None


def fetch(
    url: str, target: Path, sure: str | None = None, watcher: Watcher | None = None, pace: Pace | None = None
) -> Fetched:
    """Downloads the Parquet file at `url` to `target`, unless the target is known to be that very version.

    `sure` is the URL of a file that is surely published, by which an unpublished file is told from a throttled request:
    both are answered 403. Raises MonthUnpublished, Throttled, DownloadFailed, DownloadBusy, FolderUnwritable.
    """
    watcher, pace = watcher or Watcher(), pace or Pace()
    with requests.Session() as session, Partial(target) as part:
        download = _Download(session, url, part, sure, watcher, pace, time.monotonic())
        failures, furthest = 0, part.size
        while True:
            try:
                return download.attempt()
            except _Again as fault:
                if part.size > furthest:
                    failures, furthest = 0, part.size
                failures += 1
                if failures >= pace.tries or fault.wait > pace.longest_wait:
                    raise fault.final(shown(url), failures) from fault.__cause__
                seconds = max(pace.backoff(failures), fault.wait)
                watcher.waits(seconds, fault.why)
                pace.sleep(seconds)


@dataclass(frozen=True)
class _Download:
    session: requests.Session
    url: str
    part: Partial
    sure: str | None
    watcher: Watcher
    pace: Pace
    began: float

    def attempt(self) -> Fetched:
        """One request; raises _Again where another may help."""
        known = self._known()
        validator = self.part.validator(self.url)
        headers = {"Accept-Encoding": "identity"}
        if known:
            headers["If-None-Match"] = known[0]
        if validator:
            headers |= {"Range": f"bytes={self.part.size}-", "If-Range": validator}
        with self._get(self.url, headers) as response:
            if response.status_code == 304 and known:
                self.part.discard()
                return Fetched(self.part.target, known[1], None)
            total: int | None
            if response.status_code == 206 and validator:
                total = self._resumed(response, validator)
            elif response.status_code == 200:
                self.part.begin(self.url, _validator(response))
                total = _length(response)
            else:
                raise self._refusal(response)
            self._receive(response, total)
            return self._finish(response)

    def _known(self) -> tuple[str, int] | None:
        """ETag and size of the target, if it is an earlier download of this URL and has the size it had."""
        try:
            facts = stat(self.part.target)
        except SourceMissing:
            return None
        return (facts.etag, facts.size) if facts.etag and facts.url == shown(self.url) else None

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self.session.get(url, headers=headers, stream=True, timeout=(self.pace.connect, self.pace.read))
        except requests.RequestException as fault:
            if isinstance(fault, _HOPELESS) or "CERTIFICATE_VERIFY_FAILED" in str(fault):
                raise DownloadFailed(shown(url), _why(fault), 1) from fault
            raise _Again(_why(fault)) from fault

    def _resumed(self, response: requests.Response, validator: str) -> int:
        """The bytes in all, where the answer goes on with the very version that the part holds."""
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        place, _, total = rest.partition("/")
        same = _validator(response) in (None, validator)
        if not same or unit != "bytes" or not place.startswith(f"{self.part.size}-") or not total.isdigit():
            self.part.discard()
            raise _Again("the file changed while it was being downloaded")
        return int(total)

    def _receive(self, response: requests.Response, total: int | None) -> None:
        try:
            for chunk in response.iter_content(_CHUNK):
                if self.part.size == 0 and chunk[:4] != MAGIC:
                    raise _Again(f"what came is no Parquet file, it begins with {chunk[:24]!r}")
                self.part.write(chunk)
                self.watcher.moved(self.part.size, total)
        except requests.RequestException as fault:
            raise _Again(_why(fault)) from fault
        if total is not None and self.part.size != total:
            raise _Again(f"{self.part.size:,} of {total:,} bytes came")
        if not self.part.is_whole():
            self.part.discard()
            raise _Again("what came is cut off, it does not end as a Parquet file does")

    def _finish(self, response: requests.Response) -> Fetched:
        facts = {
            "url": shown(self.url),
            "size": self.part.size,
            "etag": response.headers.get("ETag"),
            "last_modified": response.headers.get("Last-Modified"),
            "sha256": self.part.sha256(),
            "fetched": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
        target = self.part.target
        self.part.into_place(target.with_name(target.name + SIDECAR), msgspec.json.encode(facts))
        return Fetched(target, self.part.size, time.monotonic() - self.began)

    def _refusal(self, response: requests.Response) -> Exception:
        status = response.status_code
        why = f"the server answers {status} {response.reason or ''}".rstrip()
        if status in (404, 410):
            return MonthUnpublished(shown(self.url))
        if status == 403:
            if self._answers_others():
                return MonthUnpublished(shown(self.url))
            return _Again(f"{why}, to other months too", _retry_after(response), throttled=True)
        if status == 416:
            self.part.discard()
            return _Again("the file changed while it was being downloaded")
        if status in _BUSY:
            return _Again(why, _retry_after(response), throttled=status == 429)
        return DownloadFailed(shown(self.url), why, 1)

    def _answers_others(self) -> bool:
        if self.sure is None:
            return False
        try:
            with self._get(self.sure, {"Range": "bytes=0-3"}) as response:
                return response.status_code in (200, 206)
        except _Again:
            return False


def _validator(response: requests.Response) -> str | None:
    """What If-Range may hold: a strong ETag, or else the date of the last change."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _retry_after(response: requests.Response) -> float:
    """Seconds, from a number of seconds or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - dt.datetime.now(dt.UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _why(fault: requests.RequestException) -> str:
    cause = fault.args[0] if fault.args else fault
    cause = getattr(cause, "reason", None) or cause
    if isinstance(fault, (*_HOPELESS, faults.SSLError)):
        return str(cause).rstrip(".")
    if isinstance(fault, faults.ConnectTimeout):
        return "no connection came about in time"
    if isinstance(fault, faults.ReadTimeout) or isinstance(cause, ReadTimeoutError):
        return "the server fell silent"
    if isinstance(cause, NameResolutionError):
        return "the name of its host is not known"
    if isinstance(fault, faults.ChunkedEncodingError):
        return "the connection was cut"
    return "the connection was refused or cut"
