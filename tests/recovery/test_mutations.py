"""Deliberate defects, one at a time, in a copy of the source: the simulation must catch every one.

A defect that no longer applies to the source text is a failure too: then the list has to follow the code.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SEEDS = "300"


@dataclass(frozen=True)
class Defect:
    """A text of a file and what it is replaced by; `by` is what has to catch it. `also`: a second text of that file."""

    name: str
    file: str
    old: str
    new: str
    by: tuple[str, ...] = ("-m", "tests.mutant", SEEDS)
    also: tuple[str, str] | None = None


CONTRACT = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/contract/test_trip_store.py")

SNAPSHOTS = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/unit/test_snapshots.py")

DEFECTS = (
    Defect("no epoch check", "testing/transactions.py", "row.epoch != claim.epoch or ", "",
           also=("            if self.warehouse.partitions[place].epoch != claim.epoch:\n"
                 "                raise Fenced(claim.partition)\n", "")),
    Defect("no epoch check in SQL", "sql/queries/assembling.sql", " and p.epoch = mine.epoch", "", CONTRACT),
    Defect("no next_offset check in SQL", "sql/queries/assembling.sql",
           " and p.next_offset = mine.begin", "", CONTRACT),
    Defect("a stale snapshot is accepted", "stores/snapshots.py", " or found.token != claim.replaced", "", SNAPSHOTS),
    Defect("a snapshot is saved before its commit is confirmed", "actors/loop.py",
           "        fenced = (yield",
           "        for part in work:\n"
           "            self.checkpoints.save(part.claim, part.gathered.end, part.state.snapshot())\n"
           "        fenced = (yield"),
    Defect("the offset is committed before the trips", "actors/commit.py",
           '    yield "3"\n    return Committed(steps, fenced)\n',
           '    yield "3"\n    if placed is not None:\n        with store.transaction() as late:\n'
           "            late.write(placed)\n    return Committed(steps, fenced)\n"),
    Defect("the offset that Kafka knows is trusted", "actors/recovery.py",
           "begin = claim.position.rewind_offset\n", "begin = claim.position.next_offset\n"),
    Defect("duplicates of written trips are taken for news", "assembly/steps.py",
           "is not None and not _is_newer(arrival.slots, before):\n                self.counts",
           "is not None and False:\n                self.counts"),
    Defect("no look-up after the rewind", "actors/recovery.py",
           "            held.state.drop(transaction.look_up(ids[first : first + LOOKED_UP]))\n",
           "            transaction.look_up(ids[first : first + LOOKED_UP])\n"),
    Defect("the floor is not raised when an id is forgotten", "assembly/steps.py",
           "islice(chain(written, new), self.changes.evicted):\n            self._raise_floor(trip_id)\n",
           "islice(chain(written, new), self.changes.evicted):\n            pass\n"),
    Defect("trips are let go during the rewind", "actors/recovery.py",
           "    rewind(held.state, below.gathered, limits)\n",
           "    rewind(held.state, below.gathered, limits)\n"
           "    for trip_id in list(held.state.open)[: -limits.open_trips]:\n"
           "        del held.state.open[trip_id]\n"),
    Defect("rewind_offset is too high", "assembly/steps.py",
           "trip.first_offset if trip", "trip.first_offset + 1 if trip"),
    Defect("a completed original does not look for its reversal", "actors/commit.py",
           "transaction.reversed_among(originals_of(settled))", "transaction.reversed_among([])"),
    Defect("an original that PostgreSQL has is not judged again", "assembly/steps.py",
           "        stepping.take_back()\n".replace("        ", "    "), ""),
    Defect("only new hours are noted", "placing.py", "_left_behind(settled) | ", ""),
    Defect("a batch is applied before its commit is confirmed", "actors/commit.py",
           '            yield "3e"\n',
           '            yield "3e"\n            for part in work:\n'
           "                part.state.apply(steps[part.partition].changes)\n"),
)  # fmt: skip


def mutated(defect: Defect, folder: Path) -> Path:
    """A copy of the package with the defect in it."""
    shutil.copytree(REPO / "chillflow", folder / "chillflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests", "pyproject.toml", "compose.yaml"):
        (folder / name).symlink_to(REPO / name)
    file = folder / "chillflow" / defect.file
    text = file.read_text()
    for old, new in ((defect.old, defect.new), *([defect.also] if defect.also else [])):
        assert text.count(old) == 1, f"{defect.file} has {text.count(old)} times: {old!r}"
        text = text.replace(old, new)
    file.write_text(text)
    return folder


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_every_defect_is_caught(defect: Defect, tmp_path: Path) -> None:
    folder = mutated(defect, tmp_path / "mutant")
    env = os.environ | {
        "PYTHONPATH": str(folder),
        "POLARS_MAX_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "400",
    }
    done = subprocess.run(
        [sys.executable, *defect.by], cwd=folder, env=env, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 1, f"nobody noticed: {defect.name}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    by = caught_by(done.stdout)
    assert by, f"{defect.name} broke something else than a law\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    print(f"{defect.name}: caught by {by}")


def caught_by(said: str) -> str | None:
    """The seed whose invariant was broken, or the test whose assertion failed; None for a crash of another kind."""
    if seed := re.search(r"^(seed \d+): AssertionError: (.*)", said, re.M):
        return f"{seed[1]}: {seed[2]}"
    test = re.search(r"^FAILED \S+?::(.+?) - (AssertionError|assert |Failed: DID NOT RAISE)", said, re.M)
    return test[1] if test and not re.search(r"^ERROR ", said, re.M) else None


def test_a_crash_of_another_kind_is_no_catch() -> None:
    assert caught_by("seed 4: AssertionError: trips 3: beside\n..") == "seed 4: trips 3: beside"
    assert caught_by("seed 4: TypeError: not callable") is None
    assert caught_by("FAILED tests/x.py::test_it[in PostgreSQL] - AssertionError: no") == "test_it[in PostgreSQL]"
    assert caught_by("FAILED tests/x.py::test_it - assert [] == [0]") == "test_it"
    assert caught_by("FAILED tests/x.py::test_it - Failed: DID NOT RAISE <class 'Fenced'>") == "test_it"
    assert caught_by("FAILED tests/x.py::test_it - ImportError: no") is None
    assert caught_by("ERROR tests/x.py - ImportError: no") is None
