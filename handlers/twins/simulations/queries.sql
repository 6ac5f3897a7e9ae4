-- Simulations. Row-level security adds the organisation to every WHERE. Every write of a run names its attempt ($2): one that was taken
-- over, cancelled or ended finds no row. Those of a twin that is gone are not there for anybody; a job removes them.

-- name: twin
-- Kept until the transaction ends: a twin is not deleted while it gets a simulation.
SELECT document, version FROM twins WHERE id = $1 FOR KEY SHARE

-- name: twin_now
SELECT document, version FROM twins WHERE id = $1

-- name: insert
-- A tool's call begins one simulation, however often it is tried: no row where its key is there.
INSERT INTO simulations (org_id, id, twin_id, branch_id, twin_version, status, scenario, parameters, plan, has_baseline, notes, horizon,
                         time_unit, runs, seed, total, key, created_by, created_at, deadline_at)
VALUES (current_org(), $1, $2, $3, $4, 'queued', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (org_id, key) WHERE key IS NOT NULL DO NOTHING
RETURNING {shown}

-- name: of_key
SELECT {shown} FROM simulations WHERE key = $1

-- name: find
SELECT {shown} FROM simulations WHERE id = $1 AND EXISTS (SELECT FROM twins WHERE twins.id = twin_id)

-- name: whole
SELECT {shown}, outcome FROM simulations WHERE id = $1 AND EXISTS (SELECT FROM twins WHERE twins.id = twin_id)

-- name: hold
SELECT {shown} FROM simulations WHERE id = $1 FOR UPDATE

-- name: take
-- An attempt begins anew: the same seed gives the same runs.
UPDATE simulations SET attempt = attempt + 1, status = 'running', started_at = coalesce(started_at, $2), done = 0, version = version + 1
WHERE id = $1 AND status IN ('queued', 'running')
RETURNING {shown}, plan

-- name: count
UPDATE simulations SET done = $3, tenths = greatest(tenths, $4), version = version + ($4 > tenths)::int
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING {shown}

-- name: end
-- From outside the attempt rises: whoever works on it is outrun.
UPDATE simulations
SET status = $2, attempt = attempt + $3, done = CASE WHEN $2 = 'completed' THEN total ELSE done END, summary = $4, outcome = $5, error = $6,
    finished_at = $7, is_announced = false, version = version + 1
WHERE id = $1
RETURNING {shown}

-- name: open_of_twin
SELECT id FROM simulations WHERE twin_id = $1 AND status IN ('queued', 'running') ORDER BY id LIMIT $2

-- name: purge
-- Of a twin that is gone; those whose end nobody was told yet come later.
DELETE FROM simulations
WHERE (org_id, id) IN (SELECT org_id, id FROM simulations WHERE twin_id = $1 AND (is_announced OR $3) ORDER BY id LIMIT $2)

-- name: any_left
SELECT EXISTS (SELECT FROM simulations WHERE twin_id = $1)

-- name: to_announce
-- For all organisations.
SELECT {shown} FROM simulations WHERE NOT is_announced ORDER BY id LIMIT $1

-- name: announced
UPDATE simulations SET is_announced = true
WHERE NOT is_announced AND (id, attempt) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))

-- name: late
-- For all organisations: whose time is over.
SELECT id, org_id FROM simulations WHERE status IN ('queued', 'running') AND deadline_at <= $1 ORDER BY deadline_at LIMIT $2

-- name: left
-- For all organisations: those that nobody works on, since their job has ended without them.
SELECT id, org_id FROM simulations AS s
WHERE status IN ('queued', 'running') AND created_at < $1::timestamptz - interval '5 seconds'
  AND NOT EXISTS (SELECT FROM jobs AS j
                  WHERE j.owner = s.org_id AND j.kind = 'simulations.run' AND j.key = s.id::text AND j.status IN ('queued', 'running'))
ORDER BY id LIMIT $2

-- name: is_left
-- The same of one, which is held.
SELECT NOT EXISTS (SELECT FROM jobs
                   WHERE owner = current_org() AND kind = 'simulations.run' AND key = $1::uuid::text AND status IN ('queued', 'running'))
