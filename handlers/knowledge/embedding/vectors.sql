-- Vectors of chunks, as hub_app: row-level security keeps each statement to its organisation.

-- name: has_vectors
SELECT to_regclass('hub.chunk_vectors') IS NOT NULL

-- name: model
SELECT embedding_model($1, $2)

-- name: lacking_of_document
SELECT c.id, c.text, c.place FROM chunks c
WHERE c.knowledge_id = $1 AND c.document_id = $2
    AND NOT EXISTS (SELECT FROM chunk_vectors v WHERE v.scope = c.scope AND v.model = $3 AND v.chunk_id = c.id)
ORDER BY c.ordinal LIMIT $4

-- name: lacking_of_record
SELECT c.id, c.text, c.place FROM chunks c
WHERE c.knowledge_id = $1 AND c.document_id IS NULL
    AND NOT EXISTS (SELECT FROM chunk_vectors v WHERE v.scope = c.scope AND v.model = $2 AND v.chunk_id = c.id)
ORDER BY c.ordinal LIMIT $3

-- name: lacking_of_scope
-- Behind a chunk, so that a pass looks at each once.
SELECT c.id, c.text, c.place FROM chunks c
WHERE c.scope = $1 AND c.id > $3
    AND NOT EXISTS (SELECT FROM chunk_vectors v WHERE v.scope = c.scope AND v.model = $2 AND v.chunk_id = c.id)
ORDER BY c.id LIMIT $4

-- name: put
-- What was replaced or deleted meanwhile is left out, and what is there cannot be until this is committed.
WITH made AS (
    INSERT INTO chunk_vectors (scope, model, chunk_id, org_id, knowledge_id, document_id, dimensions, embedding)
    SELECT c.scope, $1, c.id, c.org_id, c.knowledge_id, c.document_id, $2, n.embedding::halfvec
    FROM unnest($3::bigint[], $4::text[]) AS n (id, embedding)
    JOIN (SELECT * FROM chunks WHERE id = ANY ($3::bigint[]) FOR KEY SHARE) c ON c.id = n.id
    ON CONFLICT DO NOTHING
    RETURNING scope, org_id
)
INSERT INTO vector_scopes (scope, org_id, model) SELECT DISTINCT scope, org_id, $1::smallint FROM made ON CONFLICT DO NOTHING

-- name: switch
-- From now on questions to the scope are asked by the model; nothing where the scope is gone.
INSERT INTO vector_scopes (scope, org_id, model) SELECT scope, org_id, $2 FROM knowledge_scopes WHERE scope = $1
ON CONFLICT (scope) DO UPDATE SET model = excluded.model

-- name: remove_others
WITH gone AS (
    DELETE FROM chunk_vectors WHERE (scope, model, chunk_id) IN (
        SELECT scope, model, chunk_id FROM chunk_vectors WHERE scope = $1 AND (model < $2 OR model > $2) LIMIT $3
    ) RETURNING 1
)
SELECT count(*) FROM gone

-- name: scopes
-- By which model each is asked.
SELECT s.scope, s.model, m.name, m.dimensions FROM vector_scopes s JOIN embedding_models m ON m.id = s.model WHERE s.scope = ANY ($1)

-- name: near
SELECT chunk_id, similarity FROM chunks_near($1, $2, $3, $4, $5, $6, $7::jsonb)

-- name: progress
-- How far each scope is, by model: what can be found, and what cannot be embedded.
SELECT v.scope, m.name, m.dimensions, count(v.embedding) AS embedded, count(*) - count(v.embedding) AS refused,
    s.model IS NOT DISTINCT FROM v.model AS is_asked
FROM chunk_vectors v JOIN embedding_models m ON m.id = v.model LEFT JOIN vector_scopes s ON s.scope = v.scope
WHERE v.scope = ANY ($1) GROUP BY v.scope, v.model, m.name, m.dimensions, s.model ORDER BY v.scope, v.model
