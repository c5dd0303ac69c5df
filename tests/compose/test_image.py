"""What is in the image, read in a container of it."""

import os

import pytest

from tests.compose.stack import docker, missing

IMAGE = os.environ.get("CHILLFLOW_IMAGE", "chillflow:dev")
STALE = """
import importlib.util, pathlib, sys, sysconfig
def unchecked(source):
    header = pathlib.Path(importlib.util.cache_from_source(source)).read_bytes()[:8]
    return header == importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
sources = [path for name in ("stdlib", "purelib") for path in pathlib.Path(sysconfig.get_path(name)).rglob("*.py")]
print(len(sources), *(path for path in sources if "-" not in path.stem and not unchecked(path)))
"""


def test_all_of_it_has_bytecode_that_nothing_is_asked_about() -> None:
    if why := missing():
        pytest.skip(why)
    count, *without = docker("run", "--rm", IMAGE, "python", "-c", STALE).split()
    assert int(count) > 5_000
    assert without == []
