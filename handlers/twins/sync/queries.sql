-- Synchronisation of twins. Row-level security adds the organisation to every WHERE.

-- name: plan
-- A new source, or a new schedule, is begun with at once.
WITH sync_planned AS (
    SELECT $1::uuid AS twin_id, $2::text AS source, $3::text AS schedule, $4::timestamptz AS next_at
)
INSERT INTO twin_syncs AS held (org_id, twin_id, source, schedule, next_at)
SELECT current_org(), twin_id, source, schedule, next_at FROM sync_planned
ON CONFLICT (org_id, twin_id) DO UPDATE SET
    source = excluded.source, schedule = excluded.schedule, next_at = excluded.next_at, failures = 0,
    validators = CASE WHEN held.source = excluded.source THEN held.validators END

-- name: forget
WITH sync_gone AS (
    SELECT $1::uuid AS twin_id
)
DELETE FROM twin_syncs WHERE twin_id IN (SELECT twin_id FROM sync_gone)

-- name: due
SELECT org_id, twin_id FROM syncs_due($1, $2)

-- name: enqueued
-- None of a time that another has made a job of.
UPDATE twin_syncs SET next_at = $3 WHERE twin_id = $1 AND next_at <= $2

-- name: schedule
SELECT schedule FROM twin_syncs WHERE twin_id = $1 AND next_at <= $2

-- name: find
SELECT s.source, s.schedule, s.validators, s.digest, t.document FROM twin_syncs s JOIN twins t ON t.id = s.twin_id WHERE s.twin_id = $1

-- name: hold_twin
-- Locks are taken in this order: the job, the twin, its synchronisation.
SELECT version, document FROM twins WHERE id = $1 FOR UPDATE

-- name: hold
SELECT source, schedule, next_at, failures, outcome, validators, digest FROM twin_syncs WHERE twin_id = $1 FOR UPDATE

-- name: again
UPDATE twin_syncs SET next_at = $2 WHERE twin_id = $1 AND schedule IS NOT NULL

-- name: succeeded
UPDATE twin_syncs SET last_at = $2, succeeded_at = $2, outcome = $3, error = NULL, failures = 0, validators = $4, digest = $5
WHERE twin_id = $1

-- name: failed
UPDATE twin_syncs SET last_at = $2, outcome = 'failed', error = $3, failures = failures + 1, next_at = $4 WHERE twin_id = $1

-- name: shown
SELECT t.document, s.next_at, s.last_at, s.outcome, s.error, s.succeeded_at, coalesce(s.failures, 0) AS failures,
    (SELECT j.status FROM jobs j WHERE j.kind = $2 AND j.key = t.id::text AND j.status IN ('queued', 'running') LIMIT 1) AS job
FROM twins t LEFT JOIN twin_syncs s ON s.twin_id = t.id WHERE t.id = $1

-- name: has_source
SELECT (SELECT true FROM twin_syncs s WHERE s.twin_id = t.id) AS has_source FROM twins t WHERE t.id = $1
