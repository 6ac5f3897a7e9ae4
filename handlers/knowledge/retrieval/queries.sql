-- The index of what knowledge bases hold. Row-level security adds the organisation to every WHERE.

-- name: scope_of
SELECT scope FROM knowledge_scopes WHERE knowledge_id = $1 AND languages @> ARRAY[$2]

-- name: make_scope
-- Rarely: a base's first document, or the first in another language.
INSERT INTO knowledge_scopes AS s (org_id, knowledge_id, languages) VALUES ($1, $2, ARRAY[$3])
ON CONFLICT (org_id, knowledge_id) DO UPDATE SET languages =
    CASE WHEN s.languages @> excluded.languages THEN s.languages ELSE s.languages || excluded.languages END
RETURNING scope

-- name: put
-- \x01 stands where the scope belongs.
WITH given AS (
    SELECT * FROM unnest($6::integer[], $7::text[], $8::text[], $9::text[], $10::integer[], $11::text[])
        AS g (ordinal, kind, place, text, length, terms)
), made AS (
    INSERT INTO chunks (org_id, scope, knowledge_id, document_id, ordinal, kind, language, place, text)
    SELECT $1, $2, $3, $4, ordinal, kind, $5, place, text FROM given ORDER BY ordinal
    RETURNING id, ordinal
), indexed AS (
    INSERT INTO chunk_terms (chunk_id, org_id, scope, knowledge_id, document_id, length, terms)
    SELECT made.id, $1, $2, $3, $4, given.length, replace(given.terms, E'\x01', to_hex($2::bigint) || '.')::tsvector
    FROM made JOIN given USING (ordinal)
), counted AS (
    INSERT INTO knowledge_changes (org_id, scope, chunks, length, lexemes, counts)
    SELECT $1, $2, count(*), sum(length), $12, $13 FROM given
)
SELECT id FROM made ORDER BY ordinal

-- name: remove
-- {which}: the document, or the record of the base itself; one condition for both would be no range of the index.
WITH gone AS (
    DELETE FROM chunks WHERE knowledge_id = $1 AND {which} RETURNING id
), lost AS (
    SELECT t.scope, t.length, t.terms FROM gone JOIN chunk_terms AS t ON t.chunk_id = gone.id
), words AS (
    SELECT substr(each, strpos(each, '.') + 1) AS lexeme, -count(*)::integer AS n
    FROM lost CROSS JOIN LATERAL unnest(tsvector_to_array(terms)) AS each GROUP BY each
)
INSERT INTO knowledge_changes (org_id, scope, chunks, length, lexemes, counts)
SELECT current_org(), min(scope), -count(*), -sum(length),
    (SELECT coalesce(array_agg(lexeme), '{}') FROM words), (SELECT coalesce(array_agg(n), '{}') FROM words)
FROM lost HAVING count(*) > 0

-- name: drop
DELETE FROM knowledge_scopes WHERE knowledge_id = $1

-- name: record
-- What a base's record is now, in place of what it was. One statement, to be joined with the resource's own.
WITH record_scope AS (
    SELECT scope FROM knowledge_scopes WHERE org_id = current_org() AND knowledge_id IS NULL
), record_fresh AS (
    INSERT INTO knowledge_scopes AS s (org_id, knowledge_id, languages)
    SELECT current_org(), NULL, ARRAY[$7] WHERE NOT EXISTS (SELECT FROM record_scope)
    -- Another session was faster.
    ON CONFLICT (org_id, knowledge_id) DO UPDATE SET languages = excluded.languages
    RETURNING scope
), record_scoped AS (
    SELECT scope FROM record_scope UNION ALL SELECT scope FROM record_fresh
), record_gone AS (
    DELETE FROM chunks WHERE knowledge_id = $1 AND document_id IS NULL RETURNING id
), record_lost AS (
    SELECT t.scope, t.length, t.terms FROM record_gone JOIN chunk_terms AS t ON t.chunk_id = record_gone.id
), record_words AS (
    SELECT substr(each, strpos(each, '.') + 1) AS lexeme, -count(*)::integer AS n
    FROM record_lost CROSS JOIN LATERAL unnest(tsvector_to_array(terms)) AS each GROUP BY each
), record_given AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::integer[], $5::text[]) WITH ORDINALITY AS g (place, text, length, terms, ordinal)
), record_made AS (
    INSERT INTO chunks (org_id, scope, knowledge_id, document_id, ordinal, kind, language, place, text)
    SELECT current_org(), scope, $1, NULL, ordinal - 1, 'record', $7, place, text FROM record_given CROSS JOIN record_scoped
    RETURNING id, ordinal, scope
), record_indexed AS (
    INSERT INTO chunk_terms (chunk_id, org_id, scope, knowledge_id, document_id, length, terms)
    SELECT record_made.id, current_org(), record_made.scope, $1, NULL, record_given.length,
        replace(record_given.terms, E'\x01', to_hex(record_made.scope) || '.')::tsvector
    FROM record_made JOIN record_given ON record_given.ordinal = record_made.ordinal + 1
)
INSERT INTO knowledge_changes (org_id, scope, chunks, length, lexemes, counts)
SELECT current_org(), min(scope), -count(*), -sum(length),
    (SELECT coalesce(array_agg(lexeme), '{}') FROM record_words), (SELECT coalesce(array_agg(n), '{}') FROM record_words)
FROM record_lost HAVING count(*) > 0
UNION ALL
SELECT current_org(), scope, (SELECT count(*) FROM record_given), (SELECT sum(length) FROM record_given), $6::text[], $8::integer[]
FROM record_scoped WHERE EXISTS (SELECT FROM record_given)

-- name: scopes
-- With what is not folded yet.
SELECT s.scope, s.knowledge_id, s.chunks + coalesce(c.chunks, 0) AS chunks, s.length + coalesce(c.length, 0) AS length,
    c.changes, s.languages
FROM knowledge_scopes AS s
CROSS JOIN LATERAL (
    SELECT count(*) AS changes, sum(chunks) AS chunks, sum(length) AS length FROM knowledge_changes AS c WHERE c.scope = s.scope
) AS c
WHERE ($1::uuid[] IS NULL OR s.knowledge_id = ANY ($1) OR s.knowledge_id IS NULL)
    -- What a base had that is gone goes little by little.
    AND (s.knowledge_id IS NULL OR EXISTS (SELECT FROM knowledge AS k WHERE k.id = s.knowledge_id))
ORDER BY s.knowledge_id NULLS FIRST LIMIT $2

-- name: counts
SELECT lexeme, sum(chunks)::bigint AS chunks FROM knowledge_lexemes
WHERE scope = ANY ($1) AND lexeme = ANY ($2) GROUP BY lexeme

-- name: fresh
-- What is not folded yet, as far as it is few.
SELECT l.lexeme, sum(l.n)::bigint AS chunks
FROM (SELECT lexemes, counts FROM knowledge_changes WHERE scope = ANY ($1) ORDER BY scope, id LIMIT 200) AS c
CROSS JOIN LATERAL unnest(c.lexemes, c.counts) AS l (lexeme, n)
WHERE l.lexeme = ANY ($2) GROUP BY 1

-- name: beginnings
-- The lexemes with one beginning, most frequent first, and in how many chunks all of those looked at stand.
SELECT lexeme, sum(chunks)::bigint AS chunks FROM (
    SELECT lexeme, chunks FROM knowledge_lexemes
    WHERE scope = ANY ($1) AND lexeme >= $2 AND lexeme < $2 || chr(1114111) LIMIT 5000
) AS begun
GROUP BY lexeme ORDER BY 2 DESC

-- name: of_bases
-- The chunks of what some bases hold themselves.
SELECT id FROM chunks WHERE knowledge_id = ANY ($1) AND document_id IS NULL LIMIT $2

-- name: rank
SELECT chunk_id, knowledge_id, document_id, score FROM rank_chunks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: owners
SELECT id, knowledge_id, document_id FROM chunks WHERE id = ANY ($1)

-- name: hits
SELECT c.id, c.knowledge_id, c.document_id, coalesce(d.name, k.name) AS name, d.title, d.url,
    coalesce(d.metadata, k.attributes -> 'metadata', '{}')::text AS metadata, c.ordinal, c.kind, c.language, c.text, c.place
FROM chunks AS c
LEFT JOIN documents AS d ON d.id = c.document_id
LEFT JOIN knowledge AS k ON k.id = c.knowledge_id AND c.document_id IS NULL
WHERE c.id = ANY ($1)
