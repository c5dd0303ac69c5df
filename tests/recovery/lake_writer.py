"""A process that curates a month into a lake, to be killed on the way.

`lake_writer URI` commits the month again and again, a new version each time, and says each on stdout.
`lake_writer FOLDER every-step` copies the lake FOLDER/before to FOLDER/001, FOLDER/002 .. and, in a process of its own
each, curates the month there, killed before its first, second .. touch of the disk; the last one gets to the end.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

import pyarrow as pa

from chillflow.stores.lake import Lake
from tests.lake_samples import publish, rows


def version(number: int) -> dict[str, pa.Table]:
    """A month's tables, of which every row tells the version."""
    return {kind: _marked(rows(kind, 20 + number), number) for kind in ("trips", "quarantine", "adjustments")}


def _marked(table: pa.Table, number: int) -> pa.Table:
    place = table.schema.get_field_index("passenger_count")
    return table.set_column(place, table.schema.field(place), pa.array([number] * len(table), pa.int32()))


def publish_forever(uri: str) -> None:
    lake = Lake(uri)
    for count in itertools.count():
        number = count % 50
        publish(lake, version(number), os.getpid() * 1000 + count)
        print(number, flush=True)


def publish_killed_at_every_step(folder: Path) -> None:
    tables = version(2)
    for step in itertools.count(1):
        lake = folder / f"{step:03d}"
        shutil.copytree(folder / "before", lake)
        child = os.fork()
        if not child:
            _die_before_touch(str(lake), step)
            publish(Lake(lake), tables, 2)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


def _die_before_touch(folder: str, count: int) -> None:
    left = count

    def touch() -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def look_at_names(event: str, args: tuple[object, ...]) -> None:
        if event.startswith(("open", "os.")) and args and str(args[0]).startswith(folder):
            touch()

    def look_at_content(_: FrameType, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__name__", "") in ("write", "flush", "fsync"):
            touch()

    sys.addaudithook(look_at_names)
    sys.setprofile(look_at_content)


if __name__ == "__main__":
    if sys.argv[2:] == ["every-step"]:
        publish_killed_at_every_step(Path(sys.argv[1]))
    else:
        publish_forever(sys.argv[1])
