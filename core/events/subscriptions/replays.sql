-- Replays. Every statement names the organisation: the role of workers sees all.

-- name: insert
-- Up to $6, or where that is NULL to where the log ends now.
INSERT INTO replays (org_id, id, subscription_id, target_id, type_patterns, subject_patterns, after, cursor, upto, rate,
                     paced_at, status, created_at, updated_at)
SELECT $1, $2, $3, $4, s.type_patterns, s.subject_patterns, $5::bigint, $5::bigint, least(coalesce($6::bigint, h.position), h.position), $7,
       clock_timestamp(), CASE WHEN $5::bigint >= least(coalesce($6::bigint, h.position), h.position) THEN 'done' ELSE 'running' END, $8, $8
FROM heads h JOIN subscriptions s ON s.org_id = $1 AND s.id = $3
WHERE h.org_id = $1
RETURNING id, subscription_id, target_id, after, cursor, upto, rate, placed, status, created_at, updated_at

-- name: list
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM replays WHERE org_id = $1 AND subscription_id = $2) AS counted
LEFT JOIN (
    SELECT id, subscription_id, target_id, after, cursor, upto, rate, placed, status, created_at, updated_at
    FROM replays WHERE org_id = $1 AND subscription_id = $2 ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4
) AS page ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: find
SELECT id, subscription_id, target_id, after, cursor, upto, rate, placed, status, created_at, updated_at,
       (SELECT count(*) FROM deliveries d WHERE d.org_id = r.org_id AND d.subscription_id = r.target_id AND d.replay_id = r.id) AS outstanding
FROM replays r WHERE org_id = $1 AND subscription_id = $2 AND id = $3

-- name: hold
SELECT status, target_id FROM replays WHERE org_id = $1 AND subscription_id = $2 AND id = $3 FOR NO KEY UPDATE

-- name: set_status
UPDATE replays SET status = $3, paced_at = clock_timestamp(), updated_at = $4 WHERE org_id = $1 AND id = $2

-- name: unfinished
SELECT count(*) FROM replays WHERE org_id = $1 AND target_id = $2 AND status IN ('running', 'paused')

-- name: withdraw
-- What nobody has; who has one may still answer it.
DELETE FROM deliveries
WHERE org_id = $1 AND subscription_id = $2 AND replay_id = $3 AND (lease IS NULL OR due_at <= clock_timestamp())
RETURNING id

-- name: end_attempts
-- A statement after it: what was refused while it waited for a row has its attempt by now.
UPDATE attempts SET is_over = true WHERE org_id = $1 AND subscription_id = $2 AND delivery = ANY ($3::bigint[])
