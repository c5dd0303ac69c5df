"""The warehouse as a job needs it before it begins."""

from chillflow import zones
from chillflow.progress import Reporter
from chillflow.stores.warehouse import Warehouse


def prepare(dsn: str, reporter: Reporter) -> None:
    """Brings the warehouse's schema and zones up to date; raises ServiceDown and its kin."""
    with Warehouse(dsn) as warehouse:
        for migration in warehouse.migrate():
            reporter.say(f"warehouse: applied {migration}")
        changed = warehouse.load_zones((zone.id, zone.borough, zone.name, zone.service_zone) for zone in zones.ZONES)
    for what, ids in (("new", changed.new), ("gone", changed.gone), ("renamed", changed.renamed)):
        if ids and len(ids) < len(zones.ZONES):
            reporter.say(f"zones: {what}: {', '.join(map(str, ids))}")
