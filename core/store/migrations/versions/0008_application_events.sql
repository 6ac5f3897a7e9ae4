-- Revision 0009: subjects of applications' events with their versions, and the types that organisations register.
-- Runs as hub_owner with search_path = hub, public.

-- `version` is how many events of the application the subject has. Whoever appends holds the row, so a subject's events have one order.
CREATE TABLE event_subjects (
    org_id   uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    subject  text COLLATE "C" NOT NULL,
    version  bigint NOT NULL CHECK (version > 0),
    PRIMARY KEY (org_id, subject)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);

CREATE TABLE event_types (
    org_id       uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    name         text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,              -- of this registration
    version      bigint NOT NULL,
    revision     uuid NOT NULL,              -- of this version: no other has it, also after a deletion
    description  text NOT NULL,
    schema       text,                       -- JSON Schema of the data; NULL: any object
    example      text,                       -- JSON of an example's data
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, name)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['event_subjects', 'event_types'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON event_subjects TO hub_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON event_types TO hub_app;
