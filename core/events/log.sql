-- Reading the log of one organisation, by position. What travels is the short form where there is one.

-- name: head
-- The outer join answers also for an organisation whose head is not made yet.
SELECT log_epoch.epoch, coalesce(heads.position, 0) AS position
FROM log_epoch LEFT JOIN heads ON heads.org_id = $1

-- name: everything
SELECT position, channel, coalesce(short, envelope) AS envelope
FROM events
WHERE org_id = $1 AND position > $2 AND position <= $3
ORDER BY position
LIMIT $4

-- name: of_channels
-- One index scan a channel, each at most a page long, merged by position. The caller has removed channels whose
-- namespace is asked for too, so no row comes twice.
SELECT position, channel, envelope FROM (
    SELECT hit.* FROM unnest($2::text[]) AS wanted
    CROSS JOIN LATERAL (
        SELECT position, channel, coalesce(short, envelope) AS envelope
        FROM events
        WHERE org_id = $1 AND namespace = wanted AND position > $4 AND position <= $5
        ORDER BY position
        LIMIT $6
    ) AS hit
    UNION ALL
    SELECT hit.* FROM unnest($3::text[]) AS wanted
    CROSS JOIN LATERAL (
        SELECT position, channel, coalesce(short, envelope) AS envelope
        FROM events
        WHERE org_id = $1 AND channel = wanted AND position > $4 AND position <= $5
        ORDER BY position
        LIMIT $6
    ) AS hit
) AS hits
ORDER BY position
LIMIT $6

-- name: of_channel_with_times
-- As of_channels, of one channel, for who wants to know when each was recorded.
SELECT position, channel, coalesce(short, envelope) AS envelope, recorded_at
FROM events
WHERE org_id = $1 AND channel = $2 AND position > $3 AND position <= $4
ORDER BY position
LIMIT $5

-- name: of_namespace_with_times
-- The same of all channels of a namespace.
SELECT position, channel, coalesce(short, envelope) AS envelope, recorded_at
FROM events
WHERE org_id = $1 AND namespace = $2 AND position > $3 AND position <= $4
ORDER BY position
LIMIT $5

-- name: position_at
-- Halves the positions: they are dense, and recorded_at never falls. No index by time is needed for a few dozen look-ups by key,
-- which LIMIT makes of them: as a join, each step could read the whole log.
WITH RECURSIVE search(low, high) AS (
    SELECT 0::bigint, position FROM heads WHERE org_id = $1
    UNION ALL
    SELECT CASE WHEN probe.recorded_at <= $2 THEN probe.position ELSE low END,
           CASE WHEN probe.recorded_at <= $2 THEN high ELSE probe.position - 1 END
    FROM search
    CROSS JOIN LATERAL (
        SELECT position, recorded_at FROM events WHERE org_id = $1 AND position = (low + high + 1) / 2 ORDER BY position LIMIT 1
    ) AS probe
    WHERE low < high
)
SELECT coalesce(max(low), 0) AS position FROM search

-- name: position_of
SELECT position FROM events WHERE org_id = $1 AND event_id = $2
