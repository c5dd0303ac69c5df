"""The schema: how it comes to be, and that it says what the code says."""

import importlib.util
import pickle
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chillflow.curation import FLAGS, RULES
from chillflow.errors import BadDsn, SchemaTooNew, SchemaTooOld, ServiceDown, WarehouseEmpty
from chillflow.months import Month
from chillflow.positions import Desired, Group, Topic
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.migrations import known
from chillflow.stores.queries import named_queries
from chillflow.stores.warehouse import Warehouse
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS
from tests.fix_postgres import CAUTIOUS
from tests.services import only_embedded
from tests.warehouse_samples import MONTH, ask, curated, load, raw_row

PASSWORD = "p@ss w%rd:/?#[]'\\é"


def test_migrating_makes_the_schema_once(empty_dsn: str) -> None:
    with Warehouse(empty_dsn) as warehouse:
        assert set(warehouse.migrate()) == known()
        assert warehouse.migrate() == ()
        assert warehouse.months() == []


def test_two_may_migrate_at_once(empty_dsn: str) -> None:
    def migrate(_: int) -> tuple[str, ...]:
        with Warehouse(empty_dsn) as warehouse:
            return warehouse.migrate()

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(migrate, range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(known())]


def test_a_migration_that_fails_is_not_half_done(empty_dsn: str) -> None:
    ask(empty_dsn, "create schema chillflow")
    ask(empty_dsn, "create table chillflow.months ()")
    with Warehouse(empty_dsn) as warehouse:
        with pytest.raises(Exception, match="already exists"):
            warehouse.migrate()
        with pytest.raises(SchemaTooOld):
            warehouse.months()
        ask(empty_dsn, "drop table chillflow.months")
        assert set(warehouse.migrate()) == {name for name in known() if name >= "0003"}


def test_an_older_schema_names_the_command_that_updates_it(warehouse: Warehouse) -> None:
    ask(warehouse.dsn, "delete from chillflow_migrations.applied where migration_id = '0002_unkept'")
    with Warehouse(warehouse.dsn) as late, pytest.raises(SchemaTooOld, match=r"0002_.*chillflow load") as caught:
        late.months()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_empty_database_names_the_command_to_begin_with(empty_dsn: str) -> None:
    with Warehouse(empty_dsn) as warehouse, pytest.raises(WarehouseEmpty, match="is empty; begin with") as caught:
        warehouse.months()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_newer_schema_is_left_alone(warehouse: Warehouse) -> None:
    ask(warehouse.dsn, "insert into chillflow_migrations.applied values ('x', '9999_later', now())")
    with Warehouse(warehouse.dsn) as late:
        for call in (late.months, late.migrate):
            with pytest.raises(SchemaTooNew, match=r"9999_later.*upgrade this installation"):
                call()


@pytest.mark.parametrize(
    ("difference", "error", "sentence"),
    [
        ("delete from {} where migration_id = '0002_unkept'", SchemaTooOld, "lacks 0002_unkept;"),
        ("insert into {} values ('x', '9999_later', now())", SchemaTooNew, "it has 9999_later"),
    ],
)
def test_an_assembler_claims_nothing_under_another_schema(
    postgres_dsn: str, difference: str, error: Any, sentence: str
) -> None:
    ask(postgres_dsn, difference.format("chillflow_migrations.applied"))
    with closing(PostgresTripStore(postgres_dsn)) as store:
        with pytest.raises(error, match=sentence):
            store.take_group("chillflow", Topic("trip-events", "id-1", 3), None)
        with pytest.raises(error, match=sentence):
            store.claim(Group("chillflow", 1, Topic("trip-events", "id-1", 3), Desired()), 0, "me")
    assert ask(postgres_dsn, "select from chillflow.assembly_groups") == []


@pytest.fixture
def cautious(postgres_server: str) -> Iterator[str]:
    """A role that has to show its password, which is full of special characters."""
    if conninfo_to_dict(postgres_server)["user"] != "postgres":
        pytest.skip("needs a server of its own, whose superuser is postgres")
    role, password = sql.Identifier(CAUTIOUS), sql.Literal(PASSWORD)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} superuser login password {}").format(role, password))
        yield CAUTIOUS
        connection.execute(sql.SQL("drop role {}").format(role))


SOCKETS = [pytest.param(f"socket {form}", marks=only_embedded) for form in ("URL", "words")]


@pytest.mark.parametrize("form", ["URL", "words", *SOCKETS])
def test_every_form_of_address_works(cautious: str, empty_dsn: str, form: str) -> None:
    given = conninfo_to_dict(empty_dsn)
    host, port, name = given["host"], given["port"], given["dbname"]
    folder = ask(empty_dsn, "show unix_socket_directories")[0]["unix_socket_directories"]
    dsn = {
        "URL": f"postgresql://{cautious}:{quote(PASSWORD, safe='')}@{host}:{port}/{name}?application_name=mine",
        "words": make_conninfo(empty_dsn, user=cautious, password=PASSWORD),
        "socket URL": f"postgresql://postgres@/{name}?host={quote(folder, safe='')}&port={port}",
        "socket words": f"host={folder} port={port} user=postgres dbname={name}",
    }[form]
    with Warehouse(dsn) as warehouse:
        assert set(warehouse.migrate()) == known()
        warehouse.ensure_partition(Month(2019, 1))
        assert PASSWORD not in warehouse.address
        assert warehouse.address.endswith(f":{port}/{name}")


def test_no_message_shows_a_password(cautious: str, empty_dsn: str) -> None:
    with pytest.raises(BadDsn) as unreadable:
        Warehouse("host=here hunter2")
    with Warehouse(make_conninfo(empty_dsn, user=cautious, password="hunter2")) as warehouse:
        with pytest.raises(ServiceDown, match="password authentication failed") as refused:
            warehouse.migrate()
    with Warehouse("postgresql://me:hunter2@127.0.0.1:1/db") as nowhere:
        with pytest.raises(ServiceDown, match=r"127\.0\.0\.1:1/db does not answer") as down:
            nowhere.months()
    assert "hunter2" not in str(unreadable.value) + str(refused.value) + str(down.value)


def test_every_table_and_column_is_described(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    warehouse.ensure_partition(Month(2019, 2))
    undescribed = ask(
        warehouse.dsn,
        """
        select relname as name, attname as column from pg_class
        left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        where relnamespace = 'chillflow'::regnamespace and relkind in ('r', 'p', 'v', 'm')
            and (obj_description(pg_class.oid, 'pg_class') is null or col_description(pg_class.oid, attnum) is null)
        """,
    )
    assert undescribed == []
    functions = "select proname from pg_proc where pronamespace = 'chillflow'::regnamespace"
    assert ask(warehouse.dsn, f"{functions} and obj_description(oid, 'pg_proc') is null") == []


def test_tables_hold_the_columns_of_the_trip_schema(warehouse: Warehouse) -> None:
    types = {
        "int32": "integer", "int64": "bigint", "double": "double precision", "string": "text",
        "timestamp[us]": "timestamp without time zone", "decimal32(9, 2)": "numeric(9,2)",
    }  # fmt: skip
    for table, schema in (("trips", TRIPS), ("quarantine", QUARANTINE), ("adjustments", ADJUSTMENTS)):
        columns = {
            row["attname"]: row["kind"]
            for row in ask(
                warehouse.dsn,
                "select attname, format_type(atttypid, atttypmod) as kind from pg_attribute "
                "where attrelid = %s::regclass and attnum > 0",
                f"chillflow.{table}",
            )
        }
        expected = {field.name: types.get(str(field.type), "uuid") for field in schema}
        expected |= {"raw": "jsonb"} if table == "trips" else {}
        assert {name: columns.get(name) for name in expected} == expected
        revisions = {"started_revision", "ended_revision", "paid_revision"}
        assert set(columns) - set(expected) - {"month"} == {"source", *revisions}


def test_partitions_are_named_keyed_and_bounded(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    warehouse.ensure_partition(Month(2019, 2))
    partitions = ask(
        warehouse.dsn,
        "select relname as name, pg_get_expr(relpartbound, pg_class.oid) as bound, "
        "(select pg_get_constraintdef(oid) from pg_constraint where conrelid = pg_class.oid and contype = 'p') as key "
        "from pg_inherits join pg_class on oid = inhrelid where inhparent = 'chillflow.trips'::regclass order by 1",
    )
    assert [(row["name"], row["key"]) for row in partitions] == [
        ("trips_2018_11", "PRIMARY KEY (pickup_at, trip_id)"),
        ("trips_2019_02", "PRIMARY KEY (pickup_at, trip_id)"),
    ]
    assert partitions[0]["bound"] == "FOR VALUES FROM ('2018-11-01 00:00:00') TO ('2018-12-01 00:00:00')"
    with pytest.raises(psycopg.errors.CheckViolation):
        ask(warehouse.dsn, "update chillflow.trips set service = 'fhv'")
    assert warehouse.count("yellow", MONTH)[-1]["rows"] == 1


def test_sql_knows_the_rules_of_the_code(warehouse: Warehouse) -> None:
    for flags in range(512):
        [row] = ask(warehouse.dsn, "select chillflow.flag_names(%s) as names", flags)
        assert row["names"] == [name for name, bit in FLAGS.items() if flags & bit]
    of_file = {rule.name for rule in RULES if rule.scope == "file"} | {"duplicate"}
    reasons = [rule.name for rule in RULES] + ["not_in_file"]
    question = "select reason from unnest(%s::text[]) as reason where chillflow.of_file(reason)"
    assert {row["reason"] for row in ask(warehouse.dsn, question, reasons)} == of_file


def test_zones_follow_the_reference_data(warehouse: Warehouse) -> None:
    zones = [(1, "EWR", "Newark Airport", "EWR"), (2, "Queens", "Jamaica Bay", "Boro Zone"), (264, "N/A", "", "N/A")]
    assert warehouse.load_zones(zones).new == (1, 2, 264)
    again = warehouse.load_zones(zones)
    assert (again.new, again.gone, again.renamed) == ((), (), ())
    changed = warehouse.load_zones([(2, "Queens", "Bay", "Boro Zone"), zones[2], (3, "Bronx", "Pelham", "Boro Zone")])
    assert (changed.new, changed.gone, changed.renamed) == ((3,), (1,), (2,))
    assert [row["zone"] for row in ask(warehouse.dsn, "select * from chillflow.zones order by zone_id")] == [
        "Bay", "Pelham", "",
    ]  # fmt: skip


def test_every_named_query_is_used() -> None:
    [root] = importlib.util.find_spec("chillflow").submodule_search_locations  # type: ignore[union-attr]
    code = "\n".join(file.read_text() for file in Path(root).rglob("*.py"))
    assert [name for name in named_queries() if f'"{name}"' not in code] == []


def test_an_id_is_no_uuid(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="badly formed"):
        warehouse.trip("2019-01")
    assert warehouse.trip(uuid.uuid4()) == []


def test_two_that_bring_the_zones_up_to_date_at_once_do_not_disturb_each_other(postgres_dsn: str) -> None:
    zones = [(number, "Queens", f"zone {number}", "Boro Zone") for number in range(1, 265)]

    def load(_: int) -> int:
        with Warehouse(postgres_dsn) as warehouse:
            return len(warehouse.load_zones(zones).new)

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(load, range(8))) == [0] * 7 + [264]
