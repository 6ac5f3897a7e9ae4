-- Types of events that organisations have registered. Row-level security adds the organisation to every WHERE.

-- name: page
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty.
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM event_types) AS counted
LEFT JOIN (SELECT name, description, schema, example FROM event_types ORDER BY name LIMIT $1 OFFSET $2) AS page ON true
ORDER BY page.name

-- name: find
SELECT name, description, schema, example FROM event_types WHERE name = $1

-- name: register
-- No row comes back where the organisation has $7 types already; two at once may make it one more.
INSERT INTO event_types AS held (org_id, name, id, version, revision, description, schema, example, created_at, updated_at)
SELECT current_org(), $1, $2, 1, $2, $3, $4, $5, $6, $6
WHERE EXISTS (SELECT FROM event_types WHERE name = $1) OR (SELECT count(*) FROM event_types) < $7
ON CONFLICT (org_id, name) DO UPDATE
SET version = held.version + 1, revision = excluded.revision, description = excluded.description, schema = excluded.schema,
    example = excluded.example, updated_at = excluded.updated_at
RETURNING name, description, schema, example

-- name: remove
DELETE FROM event_types WHERE name = $1 RETURNING id, version

-- name: schemas
SELECT name, revision, schema FROM event_types WHERE name = ANY ($1) AND schema IS NOT NULL
