-- Branches of twins. Row-level security adds the organisation to every WHERE.

-- name: has_twin
SELECT true FROM twins WHERE id = $1

-- name: twin
SELECT version, document FROM twins WHERE id = $1

-- name: hold_twin
-- Locks are taken in this order: the twin, its branch.
SELECT version, document FROM twins WHERE id = $1 FOR UPDATE

-- name: keep_twin
-- It is not deleted while it gets a simulation.
SELECT true FROM twins WHERE id = $1 FOR KEY SHARE

-- name: insert
INSERT INTO branches (org_id, id, twin_id, name, status, base_version, version, created_by, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, 'open', $4, 1, $5, $6, $6)
RETURNING {shown}

-- name: count_open
SELECT count(*) FROM branches WHERE twin_id = $1 AND status = 'open'

-- name: make_room
-- Leaves less than so many branches, as far as those that were applied make room.
WITH old AS (
    SELECT id FROM branches WHERE twin_id = $1 AND status = 'applied' ORDER BY applied_at, id
    LIMIT greatest(0, (SELECT count(*) FROM branches WHERE twin_id = $1) - $2 + 1)
)
DELETE FROM branches WHERE id IN (SELECT id FROM old)

-- name: find
SELECT {shown} FROM branches WHERE id = $1

-- name: hold
SELECT {shown} FROM branches WHERE id = $1 FOR UPDATE

-- name: base
-- What a twin was at a version, as GET answered it.
SELECT document FROM twins_history WHERE id = $1 AND version = $2

-- name: change
UPDATE branches SET document = $2, version = version + 1, updated_at = $3 WHERE id = $1
RETURNING {shown}

-- name: apply
UPDATE branches SET status = 'applied', version = version + 1, updated_at = $3, applied_version = $2, applied_at = $3 WHERE id = $1
RETURNING {shown}

-- name: remove
DELETE FROM branches WHERE id = $1

-- name: listed
-- Branches as clients see them, for the place of their table. The times of the hub have six digits and a Z everywhere.
SELECT id, twin_id, name, status, created_at, updated_at, json_build_object(
        'id', id, 'twin_id', twin_id, 'name', name, 'status', status, 'base_version', base_version,
        'is_changed', document IS NOT NULL, 'created_by', created_by,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'applied_version', applied_version,
        'applied_at', to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'version', version)::text AS document
FROM branches
