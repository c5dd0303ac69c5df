-- The ledger of ingested months: what a re-run reads, and the accounts of law 1.
-- depends: 0001_trips

create table chillflow.months (
    service text not null,
    month date not null,
    path text not null,
    status text not null,
    rows_in bigint not null,
    trips bigint not null,
    quarantined bigint not null,
    adjustments bigint not null,
    counts jsonb not null default '{}',
    source text,
    source_size bigint,
    source_etag text,
    source_checksum text,
    code_version text not null,
    rules_version int not null,
    started_at timestamptz not null,
    loaded_at timestamptz,
    aggregated_at timestamptz,
    seconds float8,
    constraint months_key primary key (service, month, path),
    constraint months_service check (service in ('yellow', 'green')),
    constraint months_month check (extract(day from month) = 1),
    constraint months_path check (path in ('batch', 'stream')),
    constraint months_accounts check (
        path <> 'batch' or status not in ('loaded', 'done') or rows_in = trips + quarantined + adjustments
    )
);

comment on table chillflow.months is 'ledger of ingested months; rows_in = trips + quarantined + adjustments';
comment on column chillflow.months.service is 'yellow or green';
comment on column chillflow.months.month is 'first day of the month';
comment on column chillflow.months.path is 'batch for a loaded file, stream for replayed events';
comment on column chillflow.months.status is 'loaded: rows are in; done: KPIs are too';
comment on column chillflow.months.rows_in is 'rows of the file';
comment on column chillflow.months.trips is 'rows that curation kept';
comment on column chillflow.months.quarantined is 'rows that curation rejected; without not_in_file rows, which the file lacks';
comment on column chillflow.months.adjustments is 'rows that are reversals';
comment on column chillflow.months.counts is 'rows by curation rule, flags included, and not_in_file';
comment on column chillflow.months.source is 'path or URL of the file';
comment on column chillflow.months.source_size is 'bytes of the file';
comment on column chillflow.months.source_etag is 'ETag of the file where it was fetched, null where there was none';
comment on column chillflow.months.source_checksum is 'checksum of the file';
comment on column chillflow.months.code_version is 'version of ChillFlow that curated the month';
comment on column chillflow.months.rules_version is 'version of the curation rules';
comment on column chillflow.months.started_at is 'when the work on the month began';
comment on column chillflow.months.loaded_at is 'when its rows were loaded';
comment on column chillflow.months.aggregated_at is 'when its KPIs were computed; null where rows have changed since';
comment on column chillflow.months.seconds is 'seconds spent on curating and loading the month';
