-- Telemetry of twins. Row-level security adds the organisation to every WHERE.

-- name: lock
-- One write at a time in an organisation, on all nodes: rollups and rules have one order, and nobody waits in a circle. A statement of its
-- own: what a later one sees is what the write before has left.
SELECT pg_advisory_xact_lock(hashtextextended('telemetry/' || current_org()::text, 0))

-- name: look
-- The twins that are there, each with its rules of the metrics.
SELECT t.id, a.rule, a.definition, a.state, a.since, a.value, a.seen_to
FROM twins t LEFT JOIN alerts a ON a.org_id = t.org_id AND a.twin_id = t.id AND a.metric = ANY ($2)
WHERE t.id = ANY ($1)

-- name: hold
-- Whoever emits for a twin holds its row, in one order.
SELECT id FROM twins WHERE id = ANY ($1) ORDER BY id FOR UPDATE

-- name: store
-- Points are in order, each key once. Returns those that were there already, those that are the newest of their metric now, and of
-- these again those whose metric is new.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::float8[]) AS g(twin_id, metric, time, value)
), put AS (
    INSERT INTO telemetry (org_id, twin_id, metric, time, value)
    SELECT current_org(), twin_id, metric, time, value FROM given
    ON CONFLICT DO NOTHING
    RETURNING twin_id, metric, time, value
), by_second AS MATERIALIZED (
    SELECT twin_id, metric, date_trunc('second', time) AS time, max(time) AS last_time, count(*) AS count, sum(value) AS sum,
        min(value) AS min, max(value) AS max, (array_agg(value ORDER BY time DESC))[1] AS last
    FROM put GROUP BY twin_id, metric, date_trunc('second', time)
), by_minute AS MATERIALIZED (
    SELECT twin_id, metric, date_trunc('minute', time) AS time, max(last_time) AS last_time, sum(count)::bigint AS count, sum(sum) AS sum,
        min(min) AS min, max(max) AS max, (array_agg(last ORDER BY last_time DESC))[1] AS last
    FROM by_second GROUP BY twin_id, metric, date_trunc('minute', time)
), by_hour AS (
    SELECT twin_id, metric, date_trunc('hour', time, 'UTC') AS time, max(last_time) AS last_time, sum(count)::bigint AS count,
        sum(sum) AS sum, min(min) AS min, max(max) AS max, (array_agg(last ORDER BY last_time DESC))[1] AS last
    FROM by_minute GROUP BY twin_id, metric, date_trunc('hour', time, 'UTC')
), seconds AS (
    INSERT INTO telemetry_seconds AS kept (org_id, twin_id, metric, time, last_time, count, sum, min, max, last)
    SELECT current_org(), * FROM by_second
    ON CONFLICT (org_id, twin_id, metric, time) DO UPDATE
    SET count = kept.count + excluded.count, sum = kept.sum + excluded.sum,
        min = least(kept.min, excluded.min), max = greatest(kept.max, excluded.max),
        last = CASE WHEN excluded.last_time >= kept.last_time THEN excluded.last ELSE kept.last END,
        last_time = greatest(kept.last_time, excluded.last_time)
), minutes AS (
    INSERT INTO telemetry_minutes AS kept (org_id, twin_id, metric, time, last_time, count, sum, min, max, last)
    SELECT current_org(), * FROM by_minute
    ON CONFLICT (org_id, twin_id, metric, time) DO UPDATE
    SET count = kept.count + excluded.count, sum = kept.sum + excluded.sum,
        min = least(kept.min, excluded.min), max = greatest(kept.max, excluded.max),
        last = CASE WHEN excluded.last_time >= kept.last_time THEN excluded.last ELSE kept.last END,
        last_time = greatest(kept.last_time, excluded.last_time)
), hours AS (
    INSERT INTO telemetry_hours AS kept (org_id, twin_id, metric, time, last_time, count, sum, min, max, last)
    SELECT current_org(), * FROM by_hour
    ON CONFLICT (org_id, twin_id, metric, time) DO UPDATE
    SET count = kept.count + excluded.count, sum = kept.sum + excluded.sum,
        min = least(kept.min, excluded.min), max = greatest(kept.max, excluded.max),
        last = CASE WHEN excluded.last_time >= kept.last_time THEN excluded.last ELSE kept.last END,
        last_time = greatest(kept.last_time, excluded.last_time)
), latest AS (
    INSERT INTO telemetry_latest AS kept (org_id, twin_id, metric, time, value)
    SELECT DISTINCT ON (twin_id, metric) current_org(), twin_id, metric, time, value FROM given ORDER BY twin_id, metric, time DESC
    ON CONFLICT (org_id, twin_id, metric) DO UPDATE SET time = excluded.time, value = excluded.value WHERE excluded.time >= kept.time
    RETURNING twin_id, metric, time, value, xmax = 0 AS is_new
)
SELECT 'repeated' AS what, twin_id, metric, time, value FROM given g
WHERE NOT EXISTS (SELECT FROM put p WHERE p.twin_id = g.twin_id AND p.metric = g.metric AND p.time = g.time)
UNION ALL
SELECT 'newest', twin_id, metric, time, value FROM latest
UNION ALL
SELECT 'new', twin_id, metric, time, value FROM latest WHERE is_new

-- name: has_too_many
-- The twins of $1 with more than $2 metrics.
SELECT twin_id FROM telemetry_latest WHERE twin_id = ANY ($1) GROUP BY twin_id HAVING count(*) > $2

-- name: correct
-- Points that are there become others; returns those that did. $5 and $6 are the first and the last time: they name the partitions.
UPDATE telemetry t SET value = g.value
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::float8[]) AS g(twin_id, metric, time, value)
WHERE t.org_id = current_org() AND t.twin_id = g.twin_id AND t.metric = g.metric AND t.time = g.time AND t.value <> g.value
    AND t.time BETWEEN $5 AND $6
RETURNING t.twin_id, t.metric, t.time

-- name: sum_seconds
-- Sums up anew what these points (without values) belong to.
UPDATE telemetry_seconds kept
SET last_time = s.last_time, count = s.count, sum = s.sum, min = s.min, max = s.max, last = s.last
FROM (SELECT DISTINCT twin_id, metric, date_trunc('second', time) AS time
      FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g(twin_id, metric, time)) AS g
CROSS JOIN LATERAL (
    SELECT max(t.time) AS last_time, count(*) AS count, sum(t.value) AS sum, min(t.value) AS min, max(t.value) AS max,
        (array_agg(t.value ORDER BY t.time DESC))[1] AS last
    FROM telemetry t
    WHERE t.org_id = current_org() AND t.twin_id = g.twin_id AND t.metric = g.metric
        AND t.time >= g.time AND t.time < g.time + interval '1 second'
) AS s
WHERE kept.org_id = current_org() AND kept.twin_id = g.twin_id AND kept.metric = g.metric AND kept.time = g.time

-- name: sum_minutes
UPDATE telemetry_minutes kept
SET last_time = s.last_time, count = s.count, sum = s.sum, min = s.min, max = s.max, last = s.last
FROM (SELECT DISTINCT twin_id, metric, date_trunc('minute', time) AS time
      FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g(twin_id, metric, time)) AS g
CROSS JOIN LATERAL (
    SELECT max(t.last_time) AS last_time, sum(t.count)::bigint AS count, sum(t.sum) AS sum, min(t.min) AS min, max(t.max) AS max,
        (array_agg(t.last ORDER BY t.time DESC))[1] AS last
    FROM telemetry_seconds t
    WHERE t.org_id = current_org() AND t.twin_id = g.twin_id AND t.metric = g.metric
        AND t.time >= g.time AND t.time < g.time + interval '1 minute'
) AS s
WHERE kept.org_id = current_org() AND kept.twin_id = g.twin_id AND kept.metric = g.metric AND kept.time = g.time

-- name: sum_hours
UPDATE telemetry_hours kept
SET last_time = s.last_time, count = s.count, sum = s.sum, min = s.min, max = s.max, last = s.last
FROM (SELECT DISTINCT twin_id, metric, date_trunc('hour', time, 'UTC') AS time
      FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g(twin_id, metric, time)) AS g
CROSS JOIN LATERAL (
    SELECT max(t.last_time) AS last_time, sum(t.count)::bigint AS count, sum(t.sum) AS sum, min(t.min) AS min, max(t.max) AS max,
        (array_agg(t.last ORDER BY t.time DESC))[1] AS last
    FROM telemetry_minutes t
    WHERE t.org_id = current_org() AND t.twin_id = g.twin_id AND t.metric = g.metric
        AND t.time >= g.time AND t.time < g.time + interval '1 hour'
) AS s
WHERE kept.org_id = current_org() AND kept.twin_id = g.twin_id AND kept.metric = g.metric AND kept.time = g.time

-- name: stand
-- Where rules stand now; returns those that are still the rules that were looked at.
UPDATE alerts a SET state = g.state, since = g.since, value = g.value, seen_to = g.seen_to
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::float8[], $7::timestamptz[])
    AS g(twin_id, rule, definition, state, since, value, seen_to)
WHERE a.twin_id = g.twin_id AND a.rule = g.rule AND a.definition = g.definition AND a.seen_to < g.seen_to
RETURNING a.twin_id, a.rule

-- name: make_partitions
SELECT make_telemetry($1)

-- name: drop_partition
SELECT drop_telemetry($1, $2)

-- name: rules_of
SELECT rule, definition, state, value FROM alerts WHERE twin_id = $1

-- name: forget_rules
DELETE FROM alerts WHERE twin_id = $1 AND rule = ANY ($2)

-- name: add_rules
-- What is older than the newest point of the metric is late for a new rule too.
INSERT INTO alerts (org_id, twin_id, rule, metric, definition, state, seen_to)
SELECT current_org(), $1, g.rule, g.metric, g.definition, 'clear', coalesce(l.time, 'epoch')
FROM unnest($2::text[], $3::text[], $4::text[]) AS g(rule, metric, definition)
LEFT JOIN telemetry_latest l ON l.twin_id = $1 AND l.metric = g.metric

-- name: alerts
SELECT rule, definition, state, since, value FROM alerts WHERE twin_id = $1 AND ($2::text IS NULL OR state = $2) ORDER BY rule

-- name: has_twin
SELECT EXISTS (SELECT FROM twins WHERE id = $1)

-- name: latest
-- A row without a metric where the twin is there.
SELECT l.metric, l.time, l.value FROM twins t LEFT JOIN telemetry_latest l ON l.org_id = t.org_id AND l.twin_id = t.id
WHERE t.id = $1 ORDER BY l.metric

-- name: first_metrics
SELECT metric FROM telemetry_latest WHERE twin_id = $1 ORDER BY metric LIMIT $2

-- name: seconds
SELECT metric, date_bin($5, time, 'epoch'::timestamptz) AS time, sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max,
    (array_agg(last ORDER BY last_time DESC))[1] AS last
FROM telemetry_seconds WHERE twin_id = $1 AND metric = ANY ($2) AND time >= $3 AND time < $4
GROUP BY 1, 2 ORDER BY 1, 2

-- name: minutes
SELECT metric, date_bin($5, time, 'epoch'::timestamptz) AS time, sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max,
    (array_agg(last ORDER BY last_time DESC))[1] AS last
FROM telemetry_minutes WHERE twin_id = $1 AND metric = ANY ($2) AND time >= $3 AND time < $4
GROUP BY 1, 2 ORDER BY 1, 2

-- name: hours
SELECT metric, date_bin($5, time, 'epoch'::timestamptz) AS time, sum(count)::bigint AS count, sum(sum) AS sum, min(min) AS min, max(max) AS max,
    (array_agg(last ORDER BY last_time DESC))[1] AS last
FROM telemetry_hours WHERE twin_id = $1 AND metric = ANY ($2) AND time >= $3 AND time < $4
GROUP BY 1, 2 ORDER BY 1, 2

-- name: purge_points
DELETE FROM telemetry WHERE twin_id = $1 AND (metric, time) IN (SELECT metric, time FROM telemetry WHERE twin_id = $1 LIMIT $2)

-- name: purge_seconds
DELETE FROM telemetry_seconds WHERE twin_id = $1 AND (metric, time) IN (SELECT metric, time FROM telemetry_seconds WHERE twin_id = $1 LIMIT $2)

-- name: purge_minutes
DELETE FROM telemetry_minutes WHERE twin_id = $1 AND (metric, time) IN (SELECT metric, time FROM telemetry_minutes WHERE twin_id = $1 LIMIT $2)

-- name: purge_hours
DELETE FROM telemetry_hours WHERE twin_id = $1 AND (metric, time) IN (SELECT metric, time FROM telemetry_hours WHERE twin_id = $1 LIMIT $2)
