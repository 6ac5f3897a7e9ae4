-- Revision 0011: what knowledge bases are asked, how often and how fast; how many documents they have.
-- Runs as hub_owner with search_path = hub, public.

-- A row for each base that a question named; knowledge_id NULL: all that its caller may read.
CREATE TABLE knowledge_queries (
    org_id        uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id            uuid NOT NULL,
    knowledge_id  uuid,
    time          timestamptz NOT NULL,
    question      text,                        -- its beginning; NULL: not to be kept
    mode          text NOT NULL,
    results       integer NOT NULL,
    found         uuid[] NOT NULL,             -- the best documents (of a record: its base), best first
    best_score    double precision,
    took_ms       double precision NOT NULL,
    caller        text NOT NULL,
    helpful       boolean,                     -- these three are feedback
    helped_by     uuid,
    judged_at     timestamptz,
    UNIQUE NULLS NOT DISTINCT (org_id, id, knowledge_id)
);
CREATE INDEX knowledge_queries_by_base ON knowledge_queries (org_id, knowledge_id, time DESC, id DESC);
CREATE INDEX knowledge_queries_by_age ON knowledge_queries (org_id, time DESC, id DESC);
CREATE INDEX knowledge_queries_old ON knowledge_queries (time);

-- The same by hour, kept also where no questions are; `times` counts queries by how long they took (handlers/knowledge/life/durations.py).
CREATE TABLE knowledge_usage (
    org_id           uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    knowledge_id     uuid,
    hour             timestamptz NOT NULL,
    queries          bigint NOT NULL,
    without_results  bigint NOT NULL,
    times            integer[] NOT NULL,
    UNIQUE NULLS NOT DISTINCT (org_id, knowledge_id, hour)
) WITH (fillfactor = 70);
CREATE INDEX knowledge_usage_old ON knowledge_usage (hour);

-- How many documents a base has: the sum of its rows here. Each change of a document adds a row, so that writers never wait for
-- one another; fold_counts makes one row of many. No reference to organisations: a row may follow its last.
CREATE TABLE knowledge_counts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id        uuid NOT NULL,
    knowledge_id  uuid NOT NULL,
    status        text NOT NULL,
    language      text,
    documents     bigint NOT NULL,
    bytes         bigint NOT NULL
);
CREATE INDEX knowledge_counts_by_base ON knowledge_counts (knowledge_id, status, language);

-- The last run of a base, which is looked for by its statistics.
CREATE INDEX jobs_of_ingestion ON jobs (owner, key, created_at DESC) WHERE kind = 'knowledge.ingest';

CREATE FUNCTION count_document() RETURNS trigger LANGUAGE plpgsql SET search_path = hub, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO knowledge_counts (org_id, knowledge_id, status, language, documents, bytes)
        VALUES (OLD.org_id, OLD.knowledge_id, OLD.status, OLD.language, -1, -OLD.bytes);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO knowledge_counts (org_id, knowledge_id, status, language, documents, bytes)
        VALUES (NEW.org_id, NEW.knowledge_id, NEW.status, NEW.language, 1, NEW.bytes);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new_or_old AFTER INSERT OR DELETE ON documents FOR EACH ROW EXECUTE FUNCTION count_document();
-- A statement for all rows of an UPDATE would cost more: nearly all have one row, and what is not counted must cost nothing.
CREATE TRIGGER count_changed AFTER UPDATE ON documents FOR EACH ROW
    WHEN ((OLD.status, OLD.language, OLD.bytes) IS DISTINCT FROM (NEW.status, NEW.language, NEW.bytes))
    EXECUTE FUNCTION count_document();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['knowledge_queries', 'knowledge_usage', 'knowledge_counts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
    END LOOP;
END $$;
GRANT SELECT, UPDATE (helpful, helped_by, judged_at) ON knowledge_queries TO hub_app;
GRANT SELECT ON knowledge_usage TO hub_app;
GRANT SELECT, INSERT ON knowledge_counts TO hub_app;
-- Queries are noted in passing, as the audit of reads is.
CREATE POLICY noting ON knowledge_queries TO hub_system USING (true);
CREATE POLICY noting ON knowledge_usage TO hub_system USING (true);
GRANT INSERT ON knowledge_queries TO hub_system;
GRANT SELECT, INSERT, UPDATE ON knowledge_usage TO hub_system;

CREATE FUNCTION sweep_queries(most integer, days integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM knowledge_queries WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM knowledge_queries WHERE time < now() - make_interval(days => days) ORDER BY time LIMIT most
            FOR UPDATE SKIP LOCKED)) RETURNING 1
    )
    SELECT count(*) FROM gone;
END;
CREATE FUNCTION sweep_usage(most integer, days integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM knowledge_usage WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM knowledge_usage WHERE hour < now() - make_interval(days => greatest(days, 8))
            ORDER BY hour LIMIT most FOR UPDATE SKIP LOCKED)) RETURNING 1
    )
    SELECT count(*) FROM gone;
END;

-- Makes one row of many that say the same of a base; those that another fold holds are passed over. Returns how many rows there are
-- less: whoever sums them sees the same before and after. One look at the whole table, which is short since this is done.
CREATE FUNCTION fold_counts() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    WITH many AS (
        SELECT knowledge_id, status, language FROM knowledge_counts GROUP BY 1, 2, 3
        HAVING count(*) > 1 OR (sum(documents) = 0 AND sum(bytes) = 0)
    ), held AS (
        SELECT id FROM knowledge_counts c
        WHERE EXISTS (SELECT FROM many m WHERE m.knowledge_id = c.knowledge_id AND m.status = c.status
                      AND m.language IS NOT DISTINCT FROM c.language)
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM knowledge_counts WHERE id IN (SELECT id FROM held) RETURNING *
    ), folded AS (
        INSERT INTO knowledge_counts (org_id, knowledge_id, status, language, documents, bytes)
        SELECT org_id, knowledge_id, status, language, sum(documents), sum(bytes) FROM taken
        GROUP BY 1, 2, 3, 4 HAVING sum(documents) <> 0 OR sum(bytes) <> 0
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM taken) - (SELECT count(*) FROM folded);
END;

-- Of all organisations, for the metrics.
CREATE FUNCTION document_figures() RETURNS TABLE (status text, documents bigint, bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT status, sum(documents)::bigint, sum(bytes)::bigint FROM knowledge_counts GROUP BY status;
END;
CREATE FUNCTION chunk_figures() RETURNS TABLE (chunks bigint, waiting_since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT (SELECT coalesce(sum(chunks), 0)::bigint FROM knowledge_scopes),
           (SELECT min(updated_at) FROM documents WHERE status = 'pending');
END;
REVOKE EXECUTE ON FUNCTION sweep_queries(integer, integer), sweep_usage(integer, integer), fold_counts(),
    document_figures(), chunk_figures() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_queries(integer, integer), sweep_usage(integer, integer), fold_counts() TO hub_app;
GRANT EXECUTE ON FUNCTION document_figures(), chunk_figures() TO hub_system;
