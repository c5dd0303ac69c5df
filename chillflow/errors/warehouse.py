"""The tables in PostgreSQL, and what they do not hold."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError


@dataclass(eq=False)
class SchemaTooOld(ChillFlowError):
    address: str
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the warehouse at {self.address} lacks {', '.join(self.missing)}; "
            "every load (`chillflow load`, `chillflow backfill`) and every replay bring its schema up to date"
        )


@dataclass(eq=False)
class WarehouseEmpty(SchemaTooOld):
    """A database in which ChillFlow has made nothing yet."""

    def __str__(self) -> str:
        return f"the warehouse at {self.address} is empty; begin with `chillflow backfill SERVICE MONTHS`"


@dataclass(eq=False)
class SchemaTooNew(ChillFlowError):
    address: str
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the warehouse at {self.address} was made by a newer ChillFlow (it has {', '.join(self.unknown)}); "
            "upgrade this installation, or name another database in CHILLFLOW_POSTGRES_DSN"
        )


@dataclass(eq=False)
class WarehouseFull(ChillFlowError):
    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"PostgreSQL at {self.address} has no space left ({self.why}); "
            "nothing of the month was stored: free some space and run the same command again"
        )


@dataclass(eq=False)
class WarehouseRefused(ChillFlowError):
    """PostgreSQL answered with an error that is neither an outage nor a full disk."""

    address: str
    why: str
    remedy: str = "nothing was stored: run the same command again, and report it if it stays"

    def __str__(self) -> str:
        return f"PostgreSQL at {self.address} refused: {self.why}; {self.remedy}"


@dataclass(eq=False)
class MonthInconsistent(ChillFlowError):
    """What was read of a month is not what its manifest says."""

    service: str
    month: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} was not loaded: {self.why}; "
            f"curate it again with `chillflow curate {self.service} {self.month} --force`"
        )


@dataclass(eq=False)
class MonthNotLoaded(ChillFlowError):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} is not in the warehouse; "
            f"load it first with `chillflow backfill {self.service} {self.month}`"
        )


@dataclass(eq=False)
class NoKpis(ChillFlowError):
    services: str
    months: tuple[str, ...]

    def __str__(self) -> str:
        of = f" of {', '.join(self.months)}" if self.months else ""
        return (
            f"there are no KPIs of {self.services} taxis{of}; `chillflow backfill SERVICE MONTHS` loads and computes "
            "months, `chillflow aggregate` what is in the warehouse already"
        )


@dataclass(eq=False)
class TripUnknown(ChillFlowError):
    trip_id: str

    def __str__(self) -> str:
        return (
            f"no table holds the trip {self.trip_id}; its month may not be loaded yet: "
            "see `chillflow months`, load it with `chillflow backfill`"
        )


@dataclass(eq=False)
class ReportsMissing(ChillFlowError):
    package: str

    def __str__(self) -> str:
        return (
            f"a report needs {self.package}, which is not installed; install it with `pip install 'chillflow[report]'`"
        )


@dataclass(eq=False)
class MonthsNeverLoaded(ChillFlowError):
    months: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"no trips of {', '.join(self.months)} are in the warehouse; load them first with "
            "`chillflow backfill SERVICE MONTHS`, or leave them out (`chillflow months` lists what is there)"
        )
