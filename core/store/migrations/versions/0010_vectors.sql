-- Revision 0010: vectors of chunks. What needs pgvector is made by make_vectors(), here and by each later `migrate`, once it is there.
-- Runs as hub_owner with search_path = hub, public.

-- Of the installation: the models that vectors are of. Vectors of two models, or of two lengths, are never compared.
CREATE TABLE embedding_models (
    id          smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text COLLATE "C" NOT NULL,
    dimensions  smallint NOT NULL CHECK (dimensions > 0),
    UNIQUE (name, dimensions)
);
GRANT SELECT ON embedding_models TO hub_app, hub_system;

-- By which model questions to a scope are asked; another is made beside it, and takes its place when it is complete.
CREATE TABLE vector_scopes (
    scope     bigint PRIMARY KEY REFERENCES knowledge_scopes ON DELETE CASCADE,
    org_id    uuid NOT NULL,
    model     smallint NOT NULL REFERENCES embedding_models
);
ALTER TABLE vector_scopes ENABLE ROW LEVEL SECURITY;
ALTER TABLE vector_scopes FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON vector_scopes TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON vector_scopes TO hub_owner USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON vector_scopes TO hub_app;

-- A pass over a scope goes by this.
CREATE INDEX chunks_in_order ON chunks (scope, id);

-- Return the number of a model, a new one where it is not known.
CREATE FUNCTION embedding_model(wanted text, length smallint) RETURNS smallint LANGUAGE sql SECURITY DEFINER
SET search_path = hub, pg_temp AS $$
    INSERT INTO embedding_models (name, dimensions) VALUES (wanted, length) ON CONFLICT DO NOTHING;
    SELECT id FROM embedding_models WHERE name = wanted AND dimensions = length;
$$;
REVOKE EXECUTE ON FUNCTION embedding_model(text, smallint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION embedding_model(text, smallint) TO hub_app;

-- What needs pgvector 0.8 or later (halfvec, and scans of its index that go on until enough rows passed the filter).
CREATE FUNCTION make_vectors() RETURNS boolean LANGUAGE plpgsql AS $make$
DECLARE
    length integer;
    version integer[];
BEGIN
    SELECT string_to_array(extversion, '.')::integer[] INTO version FROM pg_extension WHERE extname = 'vector';
    IF version IS NULL OR version < ARRAY[0, 8] OR to_regclass('chunk_vectors') IS NOT NULL THEN
        RETURN to_regclass('chunk_vectors') IS NOT NULL;
    END IF;
    -- Its vector is NULL where the model refuses the chunk, so that nobody tries for ever. They have length one.
    CREATE TABLE chunk_vectors (
        scope         bigint NOT NULL,
        model         smallint NOT NULL REFERENCES embedding_models,
        chunk_id      bigint NOT NULL REFERENCES chunks ON DELETE CASCADE,
        org_id        uuid NOT NULL,
        knowledge_id  uuid NOT NULL,
        document_id   uuid,
        dimensions    smallint NOT NULL,
        embedding     halfvec,
        PRIMARY KEY (scope, model, chunk_id)
    ) WITH (toast_tuple_target = 8160);
    CREATE INDEX chunk_vectors_by_chunk ON chunk_vectors (chunk_id);
    -- A small scope is compared whole, by the primary key; these are for large ones.
    FOREACH length IN ARRAY ARRAY[384, 512, 768, 1024, 1536, 3072] LOOP
        EXECUTE format('CREATE INDEX chunk_vectors_near_%s ON chunk_vectors USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops) '
            'WHERE dimensions = %s AND embedding IS NOT NULL', length, length, length);
    END LOOP;
    ALTER TABLE chunk_vectors ENABLE ROW LEVEL SECURITY;
    ALTER TABLE chunk_vectors FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_organisation ON chunk_vectors TO hub_app USING (org_id = current_org());
    CREATE POLICY commands ON chunk_vectors TO hub_owner USING (true);
    GRANT SELECT, INSERT, UPDATE, DELETE ON chunk_vectors TO hub_app;

    -- The chunks of these scopes, of the session's own organisation, that are nearest to a question: best first, at most `most`.
    -- Scopes of `few` chunks together are compared whole, and so are larger ones that are a small part of the index, which would go
    -- through all others' to fill the places; lengths that have no index; and chunks that are named by `only_ids`. What documents' metadata
    -- or records' data must have is `filter`.
    CREATE FUNCTION chunks_near(scopes bigint[], by_model smallint, question text, most integer, few bigint, only_ids bigint[], filter jsonb)
    RETURNS TABLE (chunk_id bigint, similarity real) LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
    SET search_path = hub, public, pg_temp SET hnsw.iterative_scan = relaxed_order SET hnsw.ef_search = 100 AS $near$
    DECLARE
        -- Read once, not for each chunk.
        own    CONSTANT uuid := current_org();
        point  CONSTANT halfvec := question::halfvec;
        size   CONSTANT smallint := (SELECT m.dimensions FROM embedding_models m WHERE m.id = by_model);
        total  CONSTANT bigint := (SELECT sum(k.chunks) FROM knowledge_scopes k WHERE k.scope = ANY (scopes) AND k.org_id = own);
        others CONSTANT real := (SELECT c.reltuples FROM pg_class c WHERE c.oid = 'chunk_vectors'::regclass);
        vector text := 'embedding';
        kept   text := '';
    BEGIN
        IF total > few AND (total > 5 * few OR total * 10 > others) AND only_ids IS NULL
            AND size = ANY (ARRAY[384, 512, 768, 1024, 1536, 3072]) THEN
            vector := format('embedding::halfvec(%s)', size);
        END IF;
        IF only_ids IS NOT NULL THEN
            kept := ' AND v.chunk_id = ANY ($5)';
        END IF;
        IF filter IS NOT NULL THEN
            kept := kept || ' AND chunk_has(v.knowledge_id, v.document_id, $6)';
        END IF;
        RETURN QUERY EXECUTE format('SELECT near.chunk_id, (-near.distance)::real FROM (
                SELECT chunk_id, %1$s <#> $3 AS distance FROM chunk_vectors v
                WHERE scope = ANY ($1) AND model = $2 AND dimensions = %2$s AND embedding IS NOT NULL AND org_id = $7 %3$s
                ORDER BY distance LIMIT $4) AS near ORDER BY near.distance', vector, size, kept)
            USING scopes, by_model, point, most, only_ids, filter, own;
    END $near$;
    REVOKE EXECUTE ON FUNCTION chunks_near(bigint[], smallint, text, integer, bigint, bigint[], jsonb) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION chunks_near(bigint[], smallint, text, integer, bigint, bigint[], jsonb) TO hub_app;

    -- Scopes of any organisation in which a chunk has no vector of this model, or that still have those of another.
    CREATE FUNCTION scopes_to_embed(wanted smallint, most integer) RETURNS TABLE (org_id uuid, scope bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp AS $lacking$
        SELECT s.org_id, s.scope FROM knowledge_scopes s LEFT JOIN vector_scopes v ON v.scope = s.scope
        WHERE v.model <> wanted
            OR EXISTS (SELECT FROM chunks c WHERE c.scope = s.scope AND NOT EXISTS (
                SELECT FROM chunk_vectors o WHERE o.scope = s.scope AND o.model = wanted AND o.chunk_id = c.id))
            OR EXISTS (SELECT FROM chunk_vectors o WHERE o.scope = s.scope AND o.model < wanted)
            OR EXISTS (SELECT FROM chunk_vectors o WHERE o.scope = s.scope AND o.model > wanted)
        ORDER BY s.scope LIMIT most;
    $lacking$;
    REVOKE EXECUTE ON FUNCTION scopes_to_embed(smallint, integer) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION scopes_to_embed(smallint, integer) TO hub_system;
    RETURN true;
END $make$;
REVOKE EXECUTE ON FUNCTION make_vectors() FROM PUBLIC;

SELECT make_vectors();
