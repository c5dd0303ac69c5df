-- Dead letters. %(words)s are values; null ones ask for all.

-- name: each_dead_letter
select topic, topic_id, partition, "offset", key, payload, reason, at, redriven_at
from chillflow.dead_letters
where (%(topic)s::text is null or topic = %(topic)s)
    and (%(partition)s::int is null or partition = %(partition)s)
    and (%(offset)s::bigint is null or "offset" = %(offset)s)
    and (%(key)s::text is null or key = convert_to(%(key)s, 'utf8'))
    and (%(reason)s::text is null or reason = %(reason)s)
    and (%(holds)s::text is null or strpos(lower(reason), lower(%(holds)s)) > 0)
    and (%(redriven)s::boolean is null or (redriven_at is not null) = %(redriven)s)
order by topic_id, partition, "offset"
limit %(limit)s

-- name: count_dead_letters
select count(*) as letters, count(redriven_at) as redriven from chillflow.dead_letters
