-- Revision 0009: documents of knowledge bases, the chunks that they are cut into, and what these are found by.
-- Runs as hub_owner with search_path = hub, public.

-- A document is known by its name within its base; each new content is a version. It is found once it is `ready`, and what was found
-- of the version before stays until then.
CREATE TABLE documents (
    org_id         uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id             uuid NOT NULL,
    knowledge_id   uuid NOT NULL,
    name           text COLLATE "C" NOT NULL,
    version        bigint NOT NULL,
    status         text NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
    content_type   text NOT NULL,
    url            text,                       -- where it was fetched from
    hash           bytea NOT NULL,             -- SHA-256 of its content
    bytes          bigint NOT NULL,
    metadata       jsonb NOT NULL DEFAULT '{}',
    title          text,                       -- these four are told by its content, once it is ready
    language       text,
    pages          integer,
    chunks         integer NOT NULL DEFAULT 0,
    error          text,                       -- JSON: code and message
    ready_version  bigint,                     -- the one that is found
    to_fetch       boolean NOT NULL DEFAULT false,
    validators     text,                       -- JSON: ETag and Last-Modified of what was fetched last
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE UNIQUE INDEX documents_by_name ON documents (knowledge_id, name);
CREATE INDEX documents_by_age ON documents (knowledge_id, created_at DESC, id DESC);
CREATE INDEX documents_pending ON documents (knowledge_id, updated_at, id) WHERE status = 'pending';
CREATE INDEX documents_by_metadata ON documents USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}';

CREATE TABLE document_versions (
    org_id       uuid NOT NULL,
    document_id  uuid NOT NULL,
    version      bigint NOT NULL,
    content_type text NOT NULL,
    hash         bytea NOT NULL,
    bytes        bigint NOT NULL,
    content      bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, document_id, version),
    FOREIGN KEY (org_id, document_id) REFERENCES documents ON DELETE CASCADE
);
ALTER TABLE document_versions ALTER COLUMN content SET STORAGE EXTERNAL;

-- What is searched together and has its statistics together: a knowledge base with documents, or all records of an organisation
-- (knowledge_id NULL). Every lexeme in the index begins with its scope, so that no scope pays for the others.
CREATE TABLE knowledge_scopes (
    scope         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id        uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    knowledge_id  uuid,
    chunks        bigint NOT NULL DEFAULT 0,
    length        bigint NOT NULL DEFAULT 0,   -- of all chunks, in terms
    languages     text[] NOT NULL DEFAULT '{}',
    UNIQUE NULLS NOT DISTINCT (org_id, knowledge_id)
);

-- In how many chunks of its scope a lexeme stands.
CREATE TABLE knowledge_lexemes (
    org_id   uuid NOT NULL,
    scope    bigint NOT NULL REFERENCES knowledge_scopes ON DELETE CASCADE,
    lexeme   text COLLATE "C" NOT NULL,
    chunks   integer NOT NULL,
    PRIMARY KEY (scope, lexeme)
);
-- One wrong letter leaves the first half of a word as it is, or the last: these two ranges of its own scope are where an unknown word
-- is looked for. Trigrams of all scopes in one index would make each pay for the others.
CREATE INDEX knowledge_lexemes_by_end ON knowledge_lexemes (scope, reverse(lexeme) COLLATE "C");

-- What writes add to and take from the two tables above; folded into them soon after, so that writers never wait for one another.
CREATE TABLE knowledge_changes (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id   uuid NOT NULL,
    scope    bigint NOT NULL REFERENCES knowledge_scopes ON DELETE CASCADE,
    chunks   integer NOT NULL,
    length   integer NOT NULL,
    lexemes  text[] NOT NULL,
    counts   integer[] NOT NULL
);
CREATE INDEX knowledge_changes_by_scope ON knowledge_changes (scope, id);

CREATE TABLE chunks (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id        uuid NOT NULL,
    scope         bigint NOT NULL REFERENCES knowledge_scopes ON DELETE CASCADE,
    knowledge_id  uuid NOT NULL,
    document_id   uuid,                        -- NULL: the record of the base itself
    ordinal       integer NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('text', 'table', 'code', 'record')),
    language      text NOT NULL,
    place         text NOT NULL,               -- JSON: where it stands in its document
    text          text NOT NULL
);
CREATE INDEX chunks_by_document ON chunks (knowledge_id, document_id, ordinal);
CREATE INDEX chunks_by_scope ON chunks (scope);

-- Apart from the texts, so that what is ranked is read from few pages: kept as it is, never compressed or moved out.
CREATE TABLE chunk_terms (
    chunk_id      bigint PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    org_id        uuid NOT NULL,
    scope         bigint NOT NULL,
    knowledge_id  uuid NOT NULL,
    document_id   uuid,
    length        integer NOT NULL,            -- in terms
    terms         tsvector NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE chunk_terms ALTER COLUMN terms SET STORAGE MAIN;
CREATE INDEX chunk_terms_by_term ON chunk_terms USING gin (terms) WITH (fastupdate = off);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['documents', 'document_versions', 'knowledge_scopes', 'knowledge_lexemes', 'knowledge_changes',
                                'chunks', 'chunk_terms'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_app', name);
    END LOOP;
END $$;

-- BM25 (Robertson and Zaragoza, 2009) of the chunks that `wanted` is in, in `scopes` or, where `only_ids` is given, of these. `lexemes`
-- are the terms as the first scope has them, then as the second has them, and so on; `weights` are those of the terms. At most
-- `most_looked` chunks are looked at.
--
-- The sum is written out for the terms, since a join with them would take three times as long. ts_rank of one lexeme is the sum of 1/j^2
-- over its n places, divided by the limit of that sum, so what is missing to 1 is nearly 1 / (n + 1/2), and rounding gives n, as far as
-- a tsvector counts (255). And w n / (n + norm) is w - norm w / (n + norm): so each n is needed once.
CREATE FUNCTION rank_chunks(
    wanted text, only_ids bigint[], filter jsonb, scopes bigint[], lexemes text[], weights float8[],
    average float8, k1 float8, b float8, most integer, most_looked integer
) RETURNS TABLE (chunk_id bigint, knowledge_id uuid, document_id uuid, score float8)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = hub, pg_temp AS $$
DECLARE
    count   CONSTANT integer := cardinality(weights);
    columns text;
    shares  text;
BEGIN
    SELECT string_agg(format(', ($5)[%1$s + (s.place - 1) * %2$s]::tsquery AS q%1$s', n, count), ''),
           coalesce(string_agg(format(
               '%1$s::float8 / (round(1 / (1.64493406685 * (1 - ts_rank(''{1,1,1,1}''::real[], l.terms, c.q%2$s)::float8)) - 0.5) + l.norm)',
               weights[n], n), ' + '), '0')
    INTO columns, shares FROM generate_series(1, count) AS n;
    RETURN QUERY EXECUTE format('
        WITH counted AS MATERIALIZED (SELECT s.scope %s FROM unnest($4) WITH ORDINALITY AS s (scope, place))
        SELECT l.chunk_id, l.knowledge_id, l.document_id, $6 - l.norm * (%s) AS score
        FROM (
            SELECT t.chunk_id, t.knowledge_id, t.document_id, t.scope, t.terms, $8 * (1 - $9 + $9 * t.length / $7) AS norm
            FROM chunk_terms AS t
            WHERE t.org_id = (SELECT current_org()) AND t.terms @@ $1 AND ($2 IS NULL OR t.chunk_id = ANY ($2))
                AND ($3 IS NULL OR chunk_has(t.knowledge_id, t.document_id, $3))
            LIMIT $11
        ) AS l
        JOIN counted AS c ON c.scope = l.scope
        ORDER BY 4 DESC, 1 LIMIT $10', columns, shares)
    USING wanted::tsquery, only_ids, filter, scopes, lexemes, (SELECT coalesce(sum(w), 0) FROM unnest(weights) AS w),
        average, k1, b, most, most_looked;
END $$;

-- Whether the metadata of a chunk's document, or the data or metadata of the record that it is, has all of `filter`.
CREATE FUNCTION chunk_has(its_base uuid, its_document uuid, filter jsonb) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp AS $$
    SELECT CASE WHEN its_document IS NULL THEN EXISTS (
            SELECT FROM knowledge AS k WHERE k.org_id = current_org() AND k.id = its_base
                AND (k.attributes -> 'data' @> filter OR k.attributes -> 'metadata' @> filter))
        ELSE EXISTS (
            SELECT FROM documents AS d WHERE d.org_id = current_org() AND d.id = its_document AND d.metadata @> filter)
    END
$$;

-- The chunks whose document or record has all of `filter`, of some bases or of all; NULL where there are more than `most`.
CREATE FUNCTION chunks_having(filter jsonb, bases uuid[], most integer) RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = hub, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    found bigint[];
BEGIN
    SELECT array_agg(id) INTO found FROM (
        (SELECT c.id FROM documents AS d JOIN chunks AS c ON c.knowledge_id = d.knowledge_id AND c.document_id = d.id
            WHERE d.org_id = current_org() AND d.metadata <> '{}' AND d.metadata @> filter
                AND (bases IS NULL OR d.knowledge_id = ANY (bases)) LIMIT most + 1)
        UNION ALL
        (SELECT c.id FROM knowledge AS k JOIN chunks AS c ON c.knowledge_id = k.id AND c.document_id IS NULL
            WHERE k.org_id = current_org() AND k.attributes <> '{}' AND (bases IS NULL OR k.id = ANY (bases))
                AND (k.attributes @> jsonb_build_object('data', filter) OR k.attributes @> jsonb_build_object('metadata', filter))
            LIMIT most + 1)
    ) AS chosen;
    RETURN CASE WHEN cardinality(found) > most THEN NULL ELSE coalesce(found, '{}') END;
END $$;

-- Lexemes of some scopes that may be what `word` was meant to be: of nearly its length, with its beginning or its end.
CREATE FUNCTION lexemes_near(word text, of_scopes bigint[], most integer) RETURNS TABLE (lexeme text, chunks bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50
SET search_path = hub, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    kept   CONSTANT integer := CASE WHEN length(word) < 6 THEN 2 ELSE 3 END;
    begins CONSTANT text := left(word, kept) COLLATE "C";
    ends   CONSTANT text := left(reverse(word), kept) COLLATE "C";
    above  CONSTANT text := chr(1114111);
BEGIN
    RETURN QUERY
    SELECT near.lexeme, sum(near.chunks)::bigint
    FROM (
        SELECT l.lexeme, l.chunks FROM knowledge_lexemes AS l
        WHERE l.org_id = current_org() AND l.scope = ANY (of_scopes) AND l.lexeme >= begins AND l.lexeme < begins || above
        UNION
        SELECT l.lexeme, l.chunks FROM knowledge_lexemes AS l
        WHERE l.org_id = current_org() AND l.scope = ANY (of_scopes)
            AND reverse(l.lexeme) COLLATE "C" >= ends AND reverse(l.lexeme) COLLATE "C" < ends || above
        UNION
        -- What is not folded yet, as far as it is few.
        SELECT f.lexeme COLLATE "C", f.n
        FROM (SELECT c.lexemes, c.counts FROM knowledge_changes AS c
            WHERE c.org_id = current_org() AND c.scope = ANY (of_scopes) ORDER BY c.scope, c.id LIMIT 200) AS fresh
        CROSS JOIN LATERAL unnest(fresh.lexemes, fresh.counts) AS f (lexeme, n)
        WHERE f.n > 0 AND (starts_with(f.lexeme, begins) OR starts_with(reverse(f.lexeme), ends))
    ) AS near
    WHERE length(near.lexeme) BETWEEN length(word) - 2 AND length(word) + 2
    GROUP BY 1 ORDER BY public.similarity(near.lexeme, word) DESC, 2 DESC LIMIT most;
END $$;

-- Which of some lexemes, with their scopes before them, stand in a chunk: the counts may not have heard of it yet.
CREATE FUNCTION lexemes_present(lexemes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp AS $$
    SELECT each FROM unnest(lexemes) AS each
    WHERE EXISTS (SELECT FROM chunk_terms AS t WHERE t.org_id = current_org() AND t.terms @@ each::tsquery)
$$;

-- Adds what has changed to the counts, up to `most` changes, scope by scope; a scope that another session folds is left to it.
-- Returns how many there were.
CREATE FUNCTION fold_knowledge(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
DECLARE
    one    record;
    folded integer;
    total  integer := 0;
BEGIN
    FOR one IN
        SELECT s.scope, s.org_id FROM knowledge_scopes AS s
        WHERE s.scope IN (SELECT c.scope FROM (SELECT scope FROM knowledge_changes ORDER BY id LIMIT most) AS c)
        -- Not FOR UPDATE: whoever writes a chunk holds the key of its scope.
        ORDER BY s.scope FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        WITH taken AS (
            DELETE FROM knowledge_changes WHERE id IN (SELECT id FROM knowledge_changes WHERE scope = one.scope ORDER BY id LIMIT most)
            RETURNING chunks, length, lexemes, counts
        ), sums AS (
            SELECT l.lexeme, sum(l.n)::integer AS n FROM taken CROSS JOIN LATERAL unnest(lexemes, counts) AS l (lexeme, n)
            GROUP BY 1 HAVING sum(l.n) <> 0
        ), less AS (
            DELETE FROM knowledge_lexemes AS k USING sums
            WHERE k.scope = one.scope AND k.lexeme = sums.lexeme AND k.chunks + sums.n <= 0
        ), more AS (
            INSERT INTO knowledge_lexemes AS k (org_id, scope, lexeme, chunks)
            SELECT one.org_id, one.scope, sums.lexeme, sums.n FROM sums
            LEFT JOIN knowledge_lexemes AS held ON held.scope = one.scope AND held.lexeme = sums.lexeme
            WHERE coalesce(held.chunks, 0) + sums.n > 0 ORDER BY sums.lexeme COLLATE "C"
            ON CONFLICT (scope, lexeme) DO UPDATE SET chunks = k.chunks + excluded.chunks
        ), whole AS (
            UPDATE knowledge_scopes AS s SET chunks = s.chunks + t.chunks, length = s.length + t.length
            FROM (SELECT sum(chunks) AS chunks, sum(length) AS length FROM taken) AS t WHERE s.scope = one.scope AND t.chunks IS NOT NULL
        )
        SELECT count(*) INTO folded FROM taken;
        total := total + folded;
        EXIT WHEN total >= most;
    END LOOP;
    RETURN total;
END $$;

REVOKE EXECUTE ON FUNCTION chunk_has(uuid, uuid, jsonb), chunks_having(jsonb, uuid[], integer),
    rank_chunks(text, bigint[], jsonb, bigint[], text[], float8[], float8, float8, float8, integer, integer),
    lexemes_near(text, bigint[], integer), lexemes_present(text[]), fold_knowledge(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chunks_having(jsonb, uuid[], integer),
    rank_chunks(text, bigint[], jsonb, bigint[], text[], float8[], float8, float8, float8, integer, integer),
    lexemes_near(text, bigint[], integer), lexemes_present(text[]) TO hub_app;
GRANT EXECUTE ON FUNCTION fold_knowledge(integer) TO hub_app, hub_system;

-- Bases of any organisation whose documents wait without a job: theirs has failed too often, or was cancelled.
CREATE FUNCTION bases_to_ingest(most integer) RETURNS TABLE (org_id uuid, knowledge_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp AS $$
    SELECT k.org_id, k.id FROM knowledge AS k
    WHERE k.id IN (SELECT d.knowledge_id FROM documents AS d WHERE d.status = 'pending')
        AND NOT EXISTS (
            SELECT FROM jobs AS j WHERE j.owner = k.org_id AND j.kind = 'knowledge.ingest' AND j.key = k.id::text
                AND j.status IN ('queued', 'running'))
    LIMIT most
$$;
REVOKE EXECUTE ON FUNCTION bases_to_ingest(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bases_to_ingest(integer) TO hub_app;
