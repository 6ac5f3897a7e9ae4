-- Revision 0016: branches of twins, and the synchronisation of their data.
-- Runs as hub_owner with search_path = hub, public.

-- A twin as it could be. Until something of it is changed it is the twin at `base_version`, which the history has.
CREATE TABLE branches (
    org_id           uuid NOT NULL,
    id               uuid NOT NULL,
    twin_id          uuid NOT NULL,
    name             text NOT NULL,
    status           text NOT NULL CHECK (status IN ('open', 'applied')),
    base_version     bigint NOT NULL,
    document         text,                    -- the twin's fields (JSON); NULL: those of the base
    version          bigint NOT NULL,
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    applied_version  bigint,                  -- the twin's, that came of it
    applied_at       timestamptz,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, twin_id) REFERENCES twins ON DELETE CASCADE
);
CREATE INDEX branches_by_twin ON branches (org_id, twin_id, created_at DESC, id DESC);

-- The source of a twin's data, when it is fetched next, and what came of the last time. There is a row where the twin has a source.
CREATE TABLE twin_syncs (
    org_id        uuid NOT NULL,
    twin_id       uuid NOT NULL,
    source        text NOT NULL,              -- JSON, as the twin has it
    schedule      text,                       -- as the twin has it; NULL: it is run by hand
    next_at       timestamptz,
    last_at       timestamptz,
    outcome       text CHECK (outcome IN ('changed', 'unchanged', 'failed')),
    error         text,                       -- JSON: code and message, of the last time
    succeeded_at  timestamptz,
    failures      integer NOT NULL DEFAULT 0, -- in a row
    validators    text,                       -- JSON: headers that ask the source whether it has changed
    digest        bytea,                      -- of the data that it left
    PRIMARY KEY (org_id, twin_id),
    FOREIGN KEY (org_id, twin_id) REFERENCES twins ON DELETE CASCADE
);
CREATE INDEX twin_syncs_due ON twin_syncs (next_at) WHERE next_at IS NOT NULL;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['branches', 'twin_syncs'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_app', name);
    END LOOP;
END $$;

-- Twins of any organisation whose sources are to be fetched.
CREATE FUNCTION syncs_due(now timestamptz, most integer) RETURNS TABLE (org_id uuid, twin_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp AS $$
    SELECT s.org_id, s.twin_id FROM twin_syncs AS s WHERE s.next_at <= now ORDER BY s.next_at LIMIT most
$$;
REVOKE EXECUTE ON FUNCTION syncs_due(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION syncs_due(timestamptz, integer) TO hub_app;
