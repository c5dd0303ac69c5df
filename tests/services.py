"""Which services the tests use: the embedded ones, or, by CHILLFLOW_TEST_SERVICES=containers, containers."""

import os

import pytest

KINDS = ["embedded", "containers"]


def contained() -> bool:
    services = os.environ.get("CHILLFLOW_TEST_SERVICES") or "embedded"
    assert services in KINDS, f"CHILLFLOW_TEST_SERVICES is {services!r}: embedded or containers"
    return services == "containers"


only_embedded = pytest.mark.skipif(contained(), reason="about the embedded services, which containers replace here")
