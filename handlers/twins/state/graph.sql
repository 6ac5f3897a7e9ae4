-- Twins and their relationships. Row-level security adds the organisation to every WHERE.

-- name: relate
-- $2 and $3 are gone, $4 to $6 are new, or have other metadata.
WITH gone AS (
    DELETE FROM twin_relationships
    WHERE twin_id = $1 AND (name, target_id) IN (SELECT * FROM unnest($2::text[], $3::uuid[]))
)
INSERT INTO twin_relationships (org_id, twin_id, name, target_id, metadata)
SELECT current_org(), $1, each.name, each.target_id, each.metadata
FROM unnest($4::text[], $5::uuid[], $6::text[]) AS each (name, target_id, metadata)
ON CONFLICT (org_id, twin_id, name, target_id) DO UPDATE SET metadata = excluded.metadata

-- name: forget
WITH own AS (
    DELETE FROM twin_relationships WHERE twin_id = $1 AND target_id <> $1
)
DELETE FROM twin_relationships WHERE target_id = $1

-- name: there
SELECT id FROM twins WHERE id = ANY ($1::uuid[])

-- name: twin
SELECT id, version, name, type, status, document FROM twins WHERE id = $1

-- name: neighbours
-- $2 and $3: outwards, inwards; $4 a name, or any; $5 who may be seen, NULL: all.
WITH near AS (
    SELECT 'out' AS direction, name, target_id AS id, metadata FROM twin_relationships
    WHERE $2 AND twin_id = $1 AND ($4::text IS NULL OR name = $4)
    UNION ALL
    SELECT 'in', name, twin_id, metadata FROM twin_relationships
    WHERE $3 AND target_id = $1 AND ($4::text IS NULL OR name = $4)
), there AS MATERIALIZED (
    SELECT near.direction, near.name, near.id, near.metadata, twins.name AS title, twins.type, twins.status
    FROM near JOIN twins ON twins.id = near.id
    WHERE $5::uuid[] IS NULL OR near.id = ANY ($5)
), page AS (
    SELECT * FROM there ORDER BY name, direction DESC, id LIMIT $6 OFFSET $7
)
SELECT page.*, (SELECT count(*) FROM there) AS total FROM (SELECT 1) AS one LEFT JOIN page ON true

-- name: step
-- One step from any of several twins; $2 to $5 as above, at most $6.
WITH near AS (
    SELECT twin_id AS origin, 'out' AS direction, name, target_id AS id FROM twin_relationships
    WHERE $2 AND twin_id = ANY ($1::uuid[]) AND ($4::text IS NULL OR name = $4)
    UNION ALL
    SELECT target_id, 'in', name, twin_id FROM twin_relationships
    WHERE $3 AND target_id = ANY ($1::uuid[]) AND ($4::text IS NULL OR name = $4)
)
SELECT near.origin, near.direction, near.name, near.id, twins.name AS title, twins.type, twins.status
FROM near JOIN twins ON twins.id = near.id
WHERE $5::uuid[] IS NULL OR near.id = ANY ($5)
ORDER BY near.origin, near.name, near.direction DESC, near.id
LIMIT $6
