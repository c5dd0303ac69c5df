"""Alerts: months of which more is rejected, or by another rule, than real months show."""

from collections.abc import Mapping

from chillflow.curation import RULES
from chillflow.trips import SERVICES

MOST_REJECTED = 6.0
TIMES_USUAL = 3.0
_LEAST_SHARE = 0.05
_LEAST_ROWS = 10


def alerts(service: str, rows_in: int, trips: int, counts: Mapping[str, int]) -> list[str]:
    """One sentence for each cause for alarm in a month's counts per rule; the usual shares are those of RULES.

    A rule is worth an alert at three times its usual share of rows (flags: of trips), and at least 0.05 % and 10 rows.
    """
    found: list[str] = []
    unkept = rows_in - trips
    if rows_in and 100 * unkept > MOST_REJECTED * rows_in:
        found.append(f"{100 * unkept / rows_in:.1f} % of {rows_in:,} rows are not trips (alert at {MOST_REJECTED:g} %)")
    for rule in RULES:
        count = counts.get(rule.name, 0)
        of = trips if rule.action == "flag" else rows_in
        usual = rule.usual[SERVICES.index(service)]
        if count >= _LEAST_ROWS and 100 * count > max(TIMES_USUAL * usual, _LEAST_SHARE) * of:
            found.append(f"{rule.name}: {100 * count / of:.2f} % of {of:,}, usual is {usual:g} %")
    return found
