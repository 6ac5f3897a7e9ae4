-- Revision 0002: keys that rotate, keys that sign tokens, look-ups of many credentials at once.
-- Runs as hub_owner with search_path = hub, public.

ALTER TABLE keys
    ADD COLUMN version     bigint NOT NULL DEFAULT 1,
    ADD COLUMN updated_at  timestamptz,       -- NULL: since it was made
    ADD COLUMN old_hash    bytea UNIQUE,      -- of the secret before the last rotation
    ADD COLUMN old_until   timestamptz;       -- and how long that one is still taken

-- All that a node asks about keys: every second for those of its open sockets, and for one at a time. Passes row-level security as
-- find_key does: by hashes of 256 bits, which nobody guesses. A secret that was rotated out ends at `old_until`.
CREATE FUNCTION find_keys(key_hashes bytea[])
    RETURNS TABLE (hash bytea, id uuid, org_id uuid, scopes text[], resource_ids uuid[], tier text, limits jsonb,
                   expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT k.hash, k.id, k.org_id, k.scopes, k.resource_ids, o.tier, o.limits, k.expires_at, k.revoked_at
    FROM keys k JOIN organisations o ON o.id = k.org_id WHERE k.hash = ANY (key_hashes)
    UNION ALL
    SELECT k.old_hash, k.id, k.org_id, k.scopes, k.resource_ids, o.tier, o.limits, least(k.expires_at, k.old_until), k.revoked_at
    FROM keys k JOIN organisations o ON o.id = k.org_id WHERE k.old_hash = ANY (key_hashes);
END;

-- The same question as the release before asks it, so that it honours rotations too.
CREATE OR REPLACE FUNCTION find_key(key_hash bytea)
    RETURNS TABLE (id uuid, org_id uuid, scopes text[], resource_ids uuid[], tier text, expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT k.id, k.org_id, k.scopes, k.resource_ids, k.tier, k.expires_at, k.revoked_at FROM find_keys(ARRAY[key_hash]) k;
END;

-- The organisations that tokens name, by id or slug, each in lower case; `name` is the one that was asked for.
CREATE FUNCTION find_organisations(names text[]) RETURNS TABLE (name text, id uuid, tier text, limits jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT o.slug, o.id, o.tier, o.limits FROM organisations o WHERE o.slug = ANY (names)
    UNION ALL
    SELECT o.id::text, o.id, o.tier, o.limits FROM organisations o WHERE o.id::text = ANY (names);
END;

-- The key pairs that the hub signs tokens with. One signs; those before it are known until their tokens have ended.
CREATE TABLE signing_keys (
    kid          text PRIMARY KEY,
    public_key   text NOT NULL,               -- JWK (RFC 7517)
    private_key  text NOT NULL,               -- PKCS #8, encrypted under the installation's secret; empty once it signs no more
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at   timestamptz,                 -- NULL: it signs
    expires_at   timestamptz                  -- accepted until then
);
CREATE UNIQUE INDEX one_key_signs ON signing_keys ((true)) WHERE retired_at IS NULL;

GRANT UPDATE (version, updated_at, name, hint, hash, scopes, resource_ids, expires_at, old_hash, old_until) ON keys TO hub_app;
-- The private part is hub_owner's alone.
GRANT SELECT (kid, public_key, created_at, retired_at, expires_at) ON signing_keys TO hub_app;
REVOKE EXECUTE ON FUNCTION find_keys(bytea[]), find_organisations(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_keys(bytea[]), find_organisations(text[]) TO hub_app;
