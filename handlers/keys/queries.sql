-- Keys of the caller's organisation; row-level security adds it to every WHERE.

-- name: list
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty. $4: the present.
WITH wanted AS (
    SELECT id, org_id, name, hint, scopes, resource_ids, created_at, updated_at, expires_at, revoked_at, old_until, version
    FROM keys
    WHERE $3::text IS NULL OR $3 = CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= $4::timestamptz THEN 'expired' ELSE 'live' END
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM wanted) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2) AS page ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: find
SELECT id, org_id, name, hint, scopes, resource_ids, created_at, updated_at, expires_at, revoked_at, old_until, version
FROM keys WHERE id = $1

-- name: hold
SELECT id, org_id, name, hint, scopes, resource_ids, created_at, updated_at, expires_at, revoked_at, old_until, version
FROM keys WHERE id = $1 FOR UPDATE

-- name: change
UPDATE keys SET name = $2, scopes = $3, resource_ids = $4, expires_at = $5, version = version + 1, updated_at = $6
WHERE id = $1
RETURNING id, org_id, name, hint, scopes, resource_ids, created_at, updated_at, expires_at, revoked_at, old_until, version

-- name: rotate
-- A secret before the last one ends here: there is one old secret at a time.
UPDATE keys SET old_hash = hash, old_until = $4, hash = $2, hint = $3, version = version + 1, updated_at = $5
WHERE id = $1
RETURNING id, org_id, name, hint, scopes, resource_ids, created_at, updated_at, expires_at, revoked_at, old_until, version
