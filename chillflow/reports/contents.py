"""What is in the report, in its order."""

from chillflow.reports import account, days, growth, hours, money, places
from chillflow.reports.facts import Facts
from chillflow.reports.figure import Figure
from chillflow.reports.page import Section


def sections(facts: Facts) -> list[Section]:
    """The chapters; without trips there are none but data quality, where a month may hold nothing else."""
    if not facts.ledger:
        return []
    return [
        Section("map", "The map", (places.zones(facts), hours.week(facts), places.pairs(facts),
                                   places.zone_months(facts))),
        Section("days", "Days and years", _present(days.daily(facts), growth.movers(facts), growth.year_on_year(facts),
                                                   days.clock_changes(facts))),
        Section("hours", "Hours and speed", (hours.speed(facts), hours.airports(facts), hours.profile(facts),
                                             money.congestion(facts))),
        Section("flows", "Flows and fares", (places.boroughs(facts), money.fares(facts), money.payments(facts),
                                             money.tips(facts))),
        Section("quality", "Data quality", (account.rules(facts), account.ledger(facts))),
    ]  # fmt: skip


def _present(*figures: Figure | None) -> tuple[Figure, ...]:
    return tuple(figure for figure in figures if figure is not None)
