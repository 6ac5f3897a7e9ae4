-- Access: organisations and keys. The commands run as hub_owner; find_* are called by the nodes as hub_app.

-- name: find_keys
SELECT hash, id, org_id, scopes, resource_ids, tier, limits, expires_at, revoked_at FROM find_keys($1);

-- name: find_organisations
SELECT name, id, tier, limits FROM find_organisations($1);

-- name: insert_key
INSERT INTO keys (id, org_id, name, hint, hash, scopes, resource_ids, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), $8)
RETURNING id, org_id, name, hint, scopes, resource_ids, created_at, expires_at, revoked_at, updated_at, old_until, version;

-- name: list_keys
SELECT id, org_id, name, hint, scopes, resource_ids, created_at, expires_at, revoked_at, updated_at, old_until, version
FROM keys WHERE $1::uuid IS NULL OR org_id = $1
ORDER BY org_id, created_at, id;

-- name: revoke_key
-- The first moment of revocation stays.
UPDATE keys SET
    revoked_at = coalesce(revoked_at, clock_timestamp()),
    updated_at = CASE WHEN revoked_at IS NULL THEN clock_timestamp() ELSE updated_at END,
    version = version + CASE WHEN revoked_at IS NULL THEN 1 ELSE 0 END
WHERE id = $1 OR hash = $2
RETURNING id, org_id, name, hint, scopes, resource_ids, created_at, expires_at, revoked_at, updated_at, old_until, version;

-- name: insert_organisation
-- Waits for another who is making the same one; what that one committed then stands.
INSERT INTO organisations (id, slug, tier) VALUES ($1, $2, $3) ON CONFLICT (slug) DO NOTHING
RETURNING id, slug, tier, limits, created_at;

-- name: read_organisation
SELECT id, slug, tier, limits, created_at FROM organisations WHERE slug = $1 OR id = $2;

-- name: list_organisations
SELECT id, slug, tier, limits, created_at FROM organisations ORDER BY slug;

-- name: set_tier
UPDATE organisations SET tier = $3 WHERE slug = $1 OR id = $2
RETURNING id, slug, tier, limits, created_at;

-- name: set_limits
-- One statement, so that two who set different limits at once both succeed. $3 is added, the names in $4 are removed.
UPDATE organisations SET limits = (limits || $3::jsonb) - $4::text[] WHERE slug = $1 OR id = $2
RETURNING id, slug, tier, limits, created_at;
