-- Revision 0013: relationships of twins; the lives of resources, by which lists of the past find who was there, and how many.
-- Runs as hub_owner with search_path = hub, public.

-- What twins say of each other, as their documents have it. A target may go while it is written: who looks joins the twins that are there.
CREATE TABLE twin_relationships (
    org_id     uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    twin_id    uuid NOT NULL,
    name       text COLLATE "C" NOT NULL,
    target_id  uuid NOT NULL,
    metadata   text NOT NULL,               -- JSON
    PRIMARY KEY (org_id, twin_id, name, target_id)
);
CREATE INDEX twin_relationships_by_target ON twin_relationships (org_id, target_id, name, twin_id);

-- From which position on a resource was there, and up to which. Made of the log as the log is made: a reference to an organisation could
-- stop the relay.
CREATE TABLE lives (
    org_id      uuid NOT NULL,
    kind        text COLLATE "C" NOT NULL,  -- agents, knowledge, twins
    id          uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    born        bigint NOT NULL,
    died        bigint,
    PRIMARY KEY (org_id, kind, id)
);
CREATE INDEX lives_by_age ON lives (org_id, kind, created_at DESC, id DESC) INCLUDE (born, died);

CREATE FUNCTION life_of(subject text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN subject ~ '^(agents|knowledge|twins)/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                THEN split_part(subject, '/', 2)::uuid END;

-- How many there were from a position on, and when the newest that there ever was was made: counting would look at each.
CREATE TABLE populations (
    org_id    uuid NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    position  bigint NOT NULL,
    total     bigint NOT NULL,
    newest    timestamptz NOT NULL,
    PRIMARY KEY (org_id, kind, position)
);

-- The relay gives an organisation's positions one batch after the other, so each finds the total of the one before.
CREATE FUNCTION keep_lives() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM arrived WHERE type IN (
        'agent.created', 'knowledge.created', 'twin.created', 'agent.deleted', 'knowledge.deleted', 'twin.deleted')) THEN
        RETURN NULL;
    END IF;
    -- Where the log was cut back beneath (a restore by hand), what was known of its old end gives way: nothing here may hold up the log.
    DELETE FROM populations AS p USING (
        SELECT org_id, namespace, min(position) AS first FROM arrived GROUP BY org_id, namespace) AS begun
    WHERE p.org_id = begun.org_id AND p.kind = begun.namespace AND p.position >= begun.first;
    IF FOUND THEN
        DELETE FROM lives USING (
            SELECT org_id, namespace, min(position) AS first FROM arrived GROUP BY org_id, namespace) AS begun
        WHERE lives.org_id = begun.org_id AND lives.kind = begun.namespace AND lives.born >= begun.first;
        UPDATE lives SET died = NULL FROM (
            SELECT org_id, namespace, min(position) AS first FROM arrived GROUP BY org_id, namespace) AS begun
        WHERE lives.org_id = begun.org_id AND lives.kind = begun.namespace AND lives.died >= begun.first;
    END IF;
    INSERT INTO lives (org_id, kind, id, created_at, born)
    SELECT org_id, namespace, life_of(subject), time, position FROM arrived
    WHERE type IN ('agent.created', 'knowledge.created', 'twin.created') AND life_of(subject) IS NOT NULL
    ON CONFLICT DO NOTHING;
    UPDATE lives SET died = arrived.position FROM arrived
    WHERE arrived.type IN ('agent.deleted', 'knowledge.deleted', 'twin.deleted')
      AND lives.org_id = arrived.org_id AND lives.kind = arrived.namespace AND lives.id = life_of(arrived.subject);
    -- The total before is looked up once for a kind: for each row, the look would read what this statement has written.
    WITH changes AS MATERIALIZED (
        SELECT org_id, namespace AS kind, position, CASE WHEN type LIKE '%.created' THEN 1 ELSE -1 END AS step,
            CASE WHEN type LIKE '%.created' THEN time ELSE '-infinity' END AS made
        FROM arrived
        WHERE life_of(subject) IS NOT NULL AND type IN (
            'agent.created', 'knowledge.created', 'twin.created', 'agent.deleted', 'knowledge.deleted', 'twin.deleted')
    ), before AS MATERIALIZED (
        SELECT org_id, kind, coalesce(last.total, 0) AS total, coalesce(last.newest, '-infinity') AS newest
        FROM (SELECT DISTINCT org_id, kind FROM changes) AS kinds
        LEFT JOIN LATERAL (
            SELECT p.total, p.newest FROM populations AS p WHERE p.org_id = kinds.org_id AND p.kind = kinds.kind
            ORDER BY p.position DESC LIMIT 1
        ) AS last ON true
    )
    INSERT INTO populations (org_id, kind, position, total, newest)
    SELECT org_id, kind, position, before.total + sum(step) OVER so_far, greatest(before.newest, max(made) OVER so_far)
    FROM changes JOIN before USING (org_id, kind)
    WINDOW so_far AS (PARTITION BY org_id, kind ORDER BY position);
    RETURN NULL;
END $$;
-- Before the lives of what is there: from here on the log waits for this transaction.
CREATE TRIGGER keep_lives AFTER INSERT ON events REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION keep_lives();

INSERT INTO lives (org_id, kind, id, created_at, born)
SELECT org_id, namespace, life_of(subject), time, position FROM events
WHERE type IN ('agent.created', 'knowledge.created', 'twin.created') AND life_of(subject) IS NOT NULL
ON CONFLICT DO NOTHING;
UPDATE lives SET died = ended.position FROM events AS ended
WHERE ended.type IN ('agent.deleted', 'knowledge.deleted', 'twin.deleted')
  AND lives.org_id = ended.org_id AND lives.kind = ended.namespace AND lives.id = life_of(ended.subject);
INSERT INTO populations (org_id, kind, position, total, newest)
SELECT org_id, namespace, position, sum(CASE WHEN type LIKE '%.created' THEN 1 ELSE -1 END) OVER so_far,
    max(CASE WHEN type LIKE '%.created' THEN time ELSE '-infinity' END) OVER so_far
FROM events
WHERE life_of(subject) IS NOT NULL AND type IN (
    'agent.created', 'knowledge.created', 'twin.created', 'agent.deleted', 'knowledge.deleted', 'twin.deleted')
WINDOW so_far AS (PARTITION BY org_id, namespace ORDER BY position);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['twin_relationships', 'lives', 'populations'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON twin_relationships TO hub_app;
GRANT SELECT ON lives, populations TO hub_app;
REVOKE EXECUTE ON FUNCTION life_of(text), keep_lives() FROM PUBLIC;
