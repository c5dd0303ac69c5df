"""NYC taxi trip records into complete, curated trips and zone-hour KPIs."""

__version__ = "0.1.0"
