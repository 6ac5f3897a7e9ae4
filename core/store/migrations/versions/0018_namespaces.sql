-- Revision 0018: what organisations have set for their namespaces.
-- Runs as hub_owner with search_path = hub, public.

-- A row stays when nothing is set any more: its version goes on, and nodes see that it was.
CREATE TABLE namespaces (
    org_id      uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    name        text COLLATE "C" NOT NULL,
    id          uuid NOT NULL,
    version     bigint NOT NULL,
    settings    text,                                              -- JSON; NULL: nothing any more
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    touched_at  timestamptz NOT NULL DEFAULT clock_timestamp(),    -- of the last write, before its commit
    PRIMARY KEY (org_id, name)
);
CREATE INDEX namespaces_by_touch ON namespaces (touched_at);
ALTER TABLE namespaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE namespaces FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON namespaces TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON namespaces TO hub_owner USING (true);
GRANT SELECT, INSERT, UPDATE ON namespaces TO hub_app;

-- What a node keeps in memory, of all organisations: everything (NULL), or what was written since. One row stands alone where there is none.
CREATE FUNCTION namespaces_since(moment timestamptz)
    RETURNS TABLE (asked_at timestamptz, org_id uuid, name text, version bigint, settings text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT asked.at, n.org_id, n.name, n.version, n.settings
    FROM (SELECT clock_timestamp() AS at) AS asked
    LEFT JOIN namespaces n ON n.touched_at >= coalesce(moment, '-infinity');
END;
REVOKE EXECUTE ON FUNCTION namespaces_since(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION namespaces_since(timestamptz) TO hub_app;
