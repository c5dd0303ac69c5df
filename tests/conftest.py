"""What all tests share: Hypothesis without a deadline, since the machine may be busy."""

from hypothesis import settings

from tests.services import contained

settings.register_profile("chillflow", deadline=None, print_blob=True)
settings.load_profile("chillflow")

pytest_plugins = (
    "tests.fix_brokers", "tests.fix_browser", "tests.fix_postgres", "tests.fix_embedded", "tests.fix_report",
    *(["tests.fix_containers"] if contained() else []),
)  # fmt: skip
