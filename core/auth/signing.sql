-- The hub's own key pairs. find_* run as hub_app, everything else as hub_owner.

-- name: find_public
SELECT kid, public_key, retired_at IS NULL AS signs FROM signing_keys
WHERE expires_at IS NULL OR expires_at > clock_timestamp()
ORDER BY created_at DESC, kid;

-- name: read_private
SELECT private_key FROM signing_keys WHERE kid = $1 AND retired_at IS NULL;

-- name: read_signing
SELECT kid, private_key FROM signing_keys WHERE retired_at IS NULL;

-- name: retire
-- $1: for how many seconds what it signed is still accepted.
UPDATE signing_keys
SET retired_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $1), private_key = ''
WHERE retired_at IS NULL;

-- name: end_retired
UPDATE signing_keys SET expires_at = least(expires_at, clock_timestamp()) WHERE retired_at IS NOT NULL;

-- name: remove_ended
DELETE FROM signing_keys WHERE expires_at < clock_timestamp() - interval '1 day';

-- name: insert
INSERT INTO signing_keys (kid, public_key, private_key) VALUES ($1, $2, $3);
