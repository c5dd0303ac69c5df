-- What `chillflow doctor` asks.

-- name: examine
select
  current_setting('server_version') as version,
  current_setting('server_version_num')::int as number,
  extract(epoch from clock_timestamp())::float8 as clock,
  pg_is_in_recovery() as standby,
  has_database_privilege(current_database(), 'create') as may_create,
  current_user::text as "user"
