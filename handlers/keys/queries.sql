-- Keys of the caller's organisation; row-level security adds it to every WHERE.

-- name: listed
-- Keys as a list has them, for the place of its table. {now}: the present, which tells what has ended. The times of the hub have six
-- digits and a Z everywhere.
SELECT *, json_build_object(
        'id', id, 'name', name, 'hint', hint, 'status', status, 'scopes', scopes, 'resource_ids', resource_ids,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'expires_at', to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'revoked_at', to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'old_secret_until', to_char(old_secret_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'version', version)::text AS document
FROM (
    SELECT
        id, name, hint, scopes, resource_ids, created_at, coalesce(updated_at, created_at) AS updated_at, expires_at, revoked_at, version,
        CASE WHEN old_until > {now} THEN old_until END AS old_secret_until,
        CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= {now} THEN 'expired' ELSE 'live' END AS status
    FROM keys
) AS with_status

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
