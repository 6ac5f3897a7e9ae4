-- Jobs: made by whoever works for the organisation, done by the workers as hub_system. Every write of an attempt names it ($2): one
-- that was taken over finds no row.

-- name: insert
INSERT INTO jobs (id, org_id, kind, key, payload, priority, run_at, max_attempts, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (owner, kind, key) WHERE key IS NOT NULL AND status IN ('queued', 'running') DO NOTHING
RETURNING id

-- name: pending
SELECT id FROM jobs
WHERE owner = coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND kind = $2 AND key = $3 AND status IN ('queued', 'running')

-- name: hold_pending
-- Until the transaction ends, the job does not end by `finishing`, which holds the row alone. Its other writes go on meanwhile.
SELECT id FROM jobs
WHERE owner = coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND kind = $2 AND key = $3 AND status IN ('queued', 'running')
FOR KEY SHARE

-- name: cancel
-- One that waits ends here and now; one that runs ends where it runs.
UPDATE jobs
SET status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE status END,
    finished_at = CASE WHEN status = 'queued' THEN $4::timestamptz END,
    cancel_requested_at = coalesce(cancel_requested_at, $4::timestamptz)
WHERE owner = coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND kind = $2 AND key = $3 AND status IN ('queued', 'running')

-- name: lock
SELECT pg_try_advisory_lock($1, $2)

-- name: look
-- When each kind has something next, one look into an index a kind.
SELECT kind, (SELECT min(run_at) FROM jobs WHERE jobs.status = 'queued' AND jobs.kind = wanted.kind) AS due
FROM unnest($1::text[]) AS wanted (kind)

-- name: strays
-- Whether there is something to take from others, and which of the own ones are to end.
SELECT EXISTS (SELECT FROM jobs WHERE status = 'running' AND (worker <> $1 OR lease_until < clock_timestamp())) AS others,
       ARRAY (SELECT id FROM jobs WHERE status = 'running' AND worker = $1 AND cancel_requested_at IS NOT NULL) AS cancelled

-- name: claim
-- Each owner after $2 and up to $3 in turn, $5 jobs of each and $6 in all; it begins where the last claim ended, so that ten thousand
-- jobs of one owner cost another one turn. Owners with held jobs ($9, $10) get what their share ($11) leaves.
WITH RECURSIVE turn AS (
    (SELECT owner FROM jobs WHERE status = 'queued' AND kind = $1 AND owner > $2 ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT following.owner
    FROM turn CROSS JOIN LATERAL (
        SELECT owner FROM jobs WHERE status = 'queued' AND kind = $1 AND owner > turn.owner ORDER BY owner LIMIT 1
    ) AS following
    WHERE turn.owner < $3
), picked AS MATERIALIZED (
    SELECT job.id
    FROM turn
    LEFT JOIN unnest($9::uuid[], $10::int[]) AS held (owner, count) ON held.owner = turn.owner
    CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE status = 'queued' AND kind = $1 AND owner = turn.owner AND run_at <= $4
        ORDER BY priority DESC, run_at, id
        LIMIT greatest(0, least($5::int, $11::int - coalesce(held.count, 0)))
        -- Nobody is waited for; who only holds the job (hold_pending) does not stand in the way, here and below.
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS job
    WHERE turn.owner <= $3
    LIMIT $6
)
UPDATE jobs
SET status = 'running', attempt = attempt + 1, worker = $7, lease_until = clock_timestamp() + make_interval(secs => $8),
    max_attempts = coalesce(max_attempts, $12), started_at = coalesce(started_at, $4), progress = NULL
FROM picked WHERE jobs.id = picked.id
RETURNING jobs.id, org_id, owner, kind, payload, attempt, released, max_attempts

-- name: beat
-- Rows that their own handler holds in a transaction are passed over: nobody can take them meanwhile, and the others must not wait.
-- Returned is what is still ours.
WITH mine AS (
    SELECT jobs.id FROM jobs JOIN unnest($1::uuid[], $2::int[]) AS held (id, attempt) USING (id, attempt) WHERE status = 'running'
), free AS MATERIALIZED (
    SELECT id FROM jobs WHERE id = ANY ($1) AND status = 'running' AND worker = $4 FOR NO KEY UPDATE SKIP LOCKED
), beaten AS (
    UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => held.seconds)
    FROM free, unnest($1::uuid[], $2::int[], $3::float8[]) AS held (id, attempt, seconds)
    WHERE jobs.id = free.id AND jobs.id = held.id AND jobs.attempt = held.attempt
)
SELECT id FROM mine

-- name: reap
-- What nobody works on any more: the lease has ended, or, where $4 lets that count, the worker's session has, and with it the
-- advisory lock of its number.
WITH gone AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE status = 'running' AND (lease_until < clock_timestamp() OR $4::boolean AND NOT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND classid = $1::oid AND objid = jobs.worker::oid AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ))
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jobs
SET status = CASE WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                  WHEN attempt - released >= max_attempts THEN 'failed' ELSE 'queued' END,
    error = $3, run_at = $2, worker = NULL, lease_until = NULL,
    finished_at = CASE WHEN cancel_requested_at IS NOT NULL OR attempt - released >= max_attempts THEN $2::timestamptz END
FROM gone WHERE jobs.id = gone.id
RETURNING jobs.id, kind, status

-- name: hold
-- A lease that has ended is still this attempt's while nobody took the job: the attempt alone decides.
UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: hold_alone
-- Waits for whoever counts on the job's not having ended (hold_pending).
SELECT true FROM jobs WHERE id = $1 AND attempt = $2 AND status = 'running' FOR UPDATE

-- name: tell
UPDATE jobs SET progress = $3 WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING true

-- name: complete
UPDATE jobs SET status = 'completed', result = $3, error = NULL, lease_until = NULL, finished_at = $4
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: retry
-- One whose end was asked for meanwhile does not come again; nor, below, one that goes back.
UPDATE jobs
SET status = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END, error = $3, run_at = $4,
    worker = NULL, lease_until = NULL, finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN $5::timestamptz END
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: fail
UPDATE jobs SET status = $5, error = $3, worker = NULL, lease_until = NULL, finished_at = $4
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: release
UPDATE jobs
SET status = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END, released = released + 1,
    worker = NULL, lease_until = NULL, finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN $3::timestamptz END
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: sweep
WITH old AS (
    SELECT id FROM jobs WHERE finished_at < $1 AND (status <> 'failed' OR finished_at < $2) LIMIT $3
), gone AS (
    DELETE FROM jobs USING old WHERE jobs.id = old.id RETURNING 1
)
SELECT count(*) FROM gone

-- name: figures
SELECT kind, count(*) FILTER (WHERE status = 'queued') AS queued, count(*) FILTER (WHERE status = 'running') AS running,
       min(run_at) FILTER (WHERE status = 'queued' AND run_at <= $1) AS oldest
FROM jobs WHERE status IN ('queued', 'running') GROUP BY kind

-- name: declare
INSERT INTO schedules (name, rule, next_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET rule = excluded.rule, next_at = excluded.next_at WHERE schedules.rule <> excluded.rule

-- name: due
-- Also what came last at a time that is yet to come: a clock was ahead, and the next time would be far away.
SELECT name FROM schedules WHERE name = ANY ($1) AND (next_at <= $2 OR last_at > $2::timestamptz + interval '1 minute')
FOR UPDATE SKIP LOCKED

-- name: fired
-- Where the last job is pending still there is no new one: $4 is NULL.
UPDATE schedules SET next_at = $2, last_at = $3, last_job = coalesce($4, last_job) WHERE name = $1

-- name: next
SELECT min(next_at) FROM schedules WHERE name = ANY ($1)
