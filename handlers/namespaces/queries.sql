-- What organisations have set for their namespaces. Row-level security adds the organisation to every WHERE.

-- name: hold
-- Who changes namespaces of an organisation does so alone.
SELECT pg_advisory_xact_lock(hashtextextended('namespaces ' || current_org()::text, 0))

-- name: all
SELECT name, id, version, settings, created_at, updated_at FROM namespaces ORDER BY name

-- name: put
INSERT INTO namespaces AS held (org_id, name, id, version, settings, created_at, updated_at, touched_at)
VALUES (current_org(), $1, $2, 1, $3, $4, $4, clock_timestamp())
ON CONFLICT (org_id, name) DO UPDATE
SET version = held.version + 1, settings = excluded.settings, updated_at = excluded.updated_at, touched_at = excluded.touched_at
RETURNING name, id, version, settings, created_at, updated_at

-- name: since
SELECT asked_at, org_id, name, version, settings FROM namespaces_since($1)
