-- Subscriptions as rows. Every statement names the organisation: the role of workers sees all.

-- name: insert
-- $16: NULL begins at the end of the log, which is read in this statement; so does what lies beyond it.
INSERT INTO subscriptions (org_id, id, name, delivery, types, subjects, type_patterns, subject_patterns, ordered, max_in_flight,
                           ack_seconds, delays, max_deliveries, target, created_at, updated_at, cursor)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, least(coalesce($16::bigint, h.position), h.position)
FROM heads h WHERE h.org_id = $1
ON CONFLICT (org_id, name) DO NOTHING
RETURNING id, version, name, delivery, types, subjects, cursor, status, status_reason, ordered, max_in_flight, ack_seconds, delays,
          max_deliveries, target, created_at, updated_at

-- name: find
SELECT id, version, name, delivery, types, subjects, cursor, status, status_reason, ordered, max_in_flight, ack_seconds, delays,
       max_deliveries, target, created_at, updated_at
FROM subscriptions WHERE org_id = $1 AND id = $2

-- name: hold
SELECT id, version, name, delivery, types, subjects, cursor, status, status_reason, ordered, max_in_flight, ack_seconds, delays,
       max_deliveries, target, created_at, updated_at
FROM subscriptions WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE

-- name: change
-- NULL leaves a value as it is. Another filter holds from the cursor on.
UPDATE subscriptions
SET version = version + 1, updated_at = $3, name = coalesce($4, name),
    types = coalesce($5, types), type_patterns = coalesce($6, type_patterns),
    subjects = coalesce($7, subjects), subject_patterns = coalesce($8, subject_patterns),
    max_in_flight = coalesce($9, max_in_flight), ack_seconds = coalesce($10, ack_seconds), delays = coalesce($11, delays),
    max_deliveries = coalesce($12, max_deliveries), status = coalesce($13, status),
    status_reason = CASE WHEN $13::text IS NULL THEN status_reason ELSE $14 END
WHERE org_id = $1 AND id = $2
RETURNING id, version, name, delivery, types, subjects, cursor, status, status_reason, ordered, max_in_flight, ack_seconds, delays,
          max_deliveries, target, created_at, updated_at

-- name: list
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty.
WITH wanted AS (
    SELECT * FROM subscriptions WHERE org_id = $1 AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR delivery = $5)
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM wanted) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3) AS page ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: figures
-- Where the log has more than was looked at, the oldest of that may be the oldest that is not acknowledged; it may match or not.
SELECT h.position - s.cursor AS lag, counted.outstanding, counted.in_flight,
       (SELECT count(*) FROM dead_letters l WHERE l.org_id = s.org_id AND l.subscription_id = s.id) AS dead_letters,
       (SELECT greatest(0, extract(epoch FROM clock_timestamp() - e.recorded_at))::double precision FROM events e
        WHERE e.org_id = s.org_id AND e.position = coalesce(counted.oldest, CASE WHEN s.cursor < h.position THEN s.cursor + 1 END)
       ) AS oldest_seconds
FROM subscriptions s JOIN heads h ON h.org_id = s.org_id
CROSS JOIN LATERAL (
    SELECT count(*) AS outstanding, count(*) FILTER (WHERE lease IS NOT NULL AND due_at > clock_timestamp()) AS in_flight,
           min(position) FILTER (WHERE replay_id IS NULL) AS oldest
    FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id
) AS counted
WHERE s.org_id = $1 AND s.id = $2

-- name: totals
-- Of all organisations, as hub_system: each table is gone through once, whatever the number of subscriptions.
WITH outstanding AS (
    SELECT org_id, subscription_id, count(*) AS rows, count(*) FILTER (WHERE lease IS NOT NULL AND due_at > clock_timestamp()) AS in_flight,
           min(position) FILTER (WHERE replay_id IS NULL) AS oldest
    FROM deliveries GROUP BY org_id, subscription_id
), dead AS (
    SELECT org_id, subscription_id, count(*) AS rows FROM dead_letters GROUP BY org_id, subscription_id
), each AS (
    SELECT s.delivery, o.rows AS outstanding, o.in_flight, dead.rows AS dead_letters,
           CASE WHEN s.status = 'active' THEN h.position - s.cursor END AS lag,
           (SELECT extract(epoch FROM clock_timestamp() - e.recorded_at) FROM events e
            WHERE s.status = 'active' AND e.org_id = s.org_id
              AND e.position = coalesce(o.oldest, CASE WHEN s.cursor < h.position THEN s.cursor + 1 END)) AS oldest_seconds
    FROM subscriptions s JOIN heads h ON h.org_id = s.org_id
    LEFT JOIN outstanding o ON o.org_id = s.org_id AND o.subscription_id = s.id
    LEFT JOIN dead ON dead.org_id = s.org_id AND dead.subscription_id = s.id
)
SELECT delivery, count(*) AS subscriptions, coalesce(sum(lag), 0)::bigint AS lag, coalesce(max(lag), 0) AS worst_lag,
       coalesce(sum(outstanding), 0)::bigint AS outstanding, coalesce(sum(in_flight), 0)::bigint AS in_flight,
       coalesce(sum(dead_letters), 0)::bigint AS dead_letters, greatest(0, max(oldest_seconds))::double precision AS oldest_seconds
FROM each GROUP BY delivery

-- name: delete
DELETE FROM subscriptions WHERE org_id = $1 AND id = $2

-- name: delete_deliveries
DELETE FROM deliveries WHERE org_id = $1 AND subscription_id = $2

-- name: delete_attempts
-- After the deliveries, by whose rows who writes attempts has been waited for.
DELETE FROM attempts WHERE org_id = $1 AND subscription_id = $2

-- name: delete_dead_letters
DELETE FROM dead_letters WHERE org_id = $1 AND subscription_id = $2

-- name: delete_replays
DELETE FROM replays WHERE org_id = $1 AND (subscription_id = $2 OR target_id = $2)
