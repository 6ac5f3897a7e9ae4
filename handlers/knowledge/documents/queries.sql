-- Documents of knowledge bases. Row-level security adds the organisation to every WHERE.
-- Whoever locks several documents of a base does so in the order of their names, so that nobody waits for who waits for him.

-- name: has_base
SELECT true FROM knowledge WHERE id = $1

-- name: base
-- Kept until the transaction ends: a base is not deleted while it gets documents. Its own changes go on.
SELECT id FROM knowledge WHERE id = $1 FOR KEY SHARE

-- name: room
-- What the documents of the organisation have together, of their current versions.
SELECT coalesce(sum(bytes), 0)::bigint FROM knowledge_counts

-- name: put
-- A new document, or the next version of the one of this name; no row where it is here already, the same. What has failed is tried
-- again. Metadata that are not given ($7 NULL) stay.
INSERT INTO documents AS held (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, metadata, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, 1, 'pending', $4, $5, $6, coalesce($7::text::jsonb, '{}'), $8, $8)
ON CONFLICT (knowledge_id, name) DO UPDATE
SET version = held.version + CASE WHEN held.status = 'failed' AND NOT held.to_fetch
        AND (held.hash, held.content_type) = (excluded.hash, excluded.content_type) THEN 0 ELSE 1 END,
    status = 'pending', content_type = excluded.content_type, url = NULL, to_fetch = false, validators = NULL, hash = excluded.hash,
    bytes = excluded.bytes, metadata = coalesce($7::text::jsonb, held.metadata), error = NULL, updated_at = excluded.updated_at
WHERE (held.hash, held.content_type) <> (excluded.hash, excluded.content_type) OR held.status = 'failed' OR held.to_fetch
RETURNING {shown}

-- name: put_url
-- A document that is to be fetched; one that is here keeps its version until it is known whether there is another content.
INSERT INTO documents AS held (org_id, id, knowledge_id, name, version, status, content_type, url, to_fetch, hash, bytes, metadata, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, 1, 'pending', $4, $5, true, sha256(''), 0, coalesce($6::text::jsonb, '{}'), $7, $7)
ON CONFLICT (knowledge_id, name) DO UPDATE
SET status = 'pending', url = excluded.url, to_fetch = true, validators = CASE WHEN held.url = excluded.url THEN held.validators END,
    metadata = coalesce($6::text::jsonb, held.metadata), error = NULL, updated_at = excluded.updated_at
RETURNING {shown}

-- name: declare
-- Documents that are to be fetched, by name; those that are here are left as they are.
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, url, to_fetch, hash, bytes, created_at, updated_at)
SELECT current_org(), new.id, $1, new.name, 1, 'pending', new.content_type, new.url, true, sha256(''), 0, $6, $6
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) AS new (id, name, content_type, url) ORDER BY new.name
ON CONFLICT DO NOTHING

-- name: keep
WITH kept AS (
    INSERT INTO document_versions (org_id, document_id, version, content_type, hash, bytes, content, created_at)
    VALUES (current_org(), $1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
)
DELETE FROM document_versions WHERE document_id = $1 AND version <= $2 - $8::int

-- name: of_name
SELECT {shown} FROM documents WHERE knowledge_id = $1 AND name = $2

-- name: of_names
-- What a deleted base had goes little by little, and is not there for anybody meanwhile: here and below.
SELECT {shown} FROM documents WHERE knowledge_id = $1 AND name = ANY ($2) AND EXISTS (SELECT FROM knowledge WHERE id = $1)

-- name: find
SELECT {shown} FROM documents WHERE knowledge_id = $1 AND id = $2 AND EXISTS (SELECT FROM knowledge WHERE id = $1)

-- name: hold
SELECT {shown} FROM documents WHERE knowledge_id = $1 AND id = $2 AND EXISTS (SELECT FROM knowledge WHERE id = $1) FOR UPDATE

-- name: of_ids
SELECT {shown} FROM documents WHERE knowledge_id = $1 AND id = ANY ($2)

-- name: waiting
SELECT count(*) FROM documents WHERE knowledge_id = $1 AND id = ANY ($2) AND status = 'pending'

-- name: describe
UPDATE documents SET metadata = $3::text::jsonb, updated_at = $4 WHERE knowledge_id = $1 AND id = $2 RETURNING {shown}

-- name: hold_all
SELECT id FROM documents WHERE knowledge_id = $1 AND id = ANY ($2) ORDER BY name FOR UPDATE

-- name: remove
DELETE FROM documents WHERE knowledge_id = $1 AND id = ANY ($2)

-- name: version
SELECT version, content_type, bytes FROM document_versions
WHERE document_id = $1 AND version = coalesce($2, (SELECT max(version) FROM document_versions WHERE document_id = $1))

-- name: part
-- Contents are stored as they are (STORAGE EXTERNAL), so that a part of one is read by itself.
SELECT substring(content FROM $3 FOR $4) FROM document_versions WHERE document_id = $1 AND version = $2

-- name: versions
SELECT version, content_type, hash, bytes, created_at FROM document_versions WHERE document_id = $1 ORDER BY version DESC

-- name: manifest
SELECT id, name, hash, status, to_fetch FROM documents WHERE knowledge_id = $1

-- name: again
UPDATE documents SET status = 'pending', to_fetch = true, error = NULL, updated_at = $2 WHERE id = $1 RETURNING {shown}

-- name: pending
-- The oldest first, so many that their contents are $3 bytes at most, but one always; what is to be fetched counts $4.
SELECT id, name, version, content_type, url, hash, to_fetch, validators, ready_version, updated_at AS changed
FROM (
    SELECT *, sum(weight) OVER (ORDER BY updated_at, id) AS in_all
    FROM (
        SELECT id, name, version, content_type, url, hash, to_fetch, validators, ready_version, updated_at,
            CASE WHEN to_fetch THEN $4::bigint ELSE bytes END AS weight
        FROM documents
        WHERE knowledge_id = $1 AND status = 'pending'
        ORDER BY updated_at, id LIMIT $2
    ) AS oldest
) AS summed
WHERE in_all <= $3 OR in_all = weight
ORDER BY updated_at, id

-- name: contents
SELECT document_id, version, content FROM document_versions
WHERE (document_id, version) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))

-- name: lock_versions
-- Another version may have come meanwhile, or the document have gone: then this one is not written. What was fetched is not either where
-- another URL was given since, or a refresh was asked for: it may be older than what was asked for.
SELECT id FROM documents
WHERE (id, version, to_fetch) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::boolean[])) AND status = 'pending'
    AND (NOT to_fetch OR (id, updated_at) IN (SELECT * FROM unnest($1::uuid[], $4::timestamptz[])))
ORDER BY name FOR UPDATE

-- name: fetched
UPDATE documents SET version = $2, hash = $3, bytes = $4, content_type = $5, to_fetch = false, validators = $6 WHERE id = $1

-- name: ready
UPDATE documents SET status = 'ready', title = $2, language = $3, pages = $4, chunks = $5, error = NULL, updated_at = $6,
    ready_version = version
WHERE id = $1

-- name: still_ready
-- What was fetched is what is found already.
UPDATE documents SET status = 'ready', to_fetch = false, validators = $2, error = NULL WHERE id = $1

-- name: failed
UPDATE documents SET status = 'failed', to_fetch = false, error = $2, updated_at = $3 WHERE id = $1

-- name: hold_base
-- Whoever emits for a base holds it; who adds documents goes on meanwhile.
SELECT id FROM knowledge WHERE id = $1 FOR NO KEY UPDATE

-- name: left
SELECT count(*) FROM documents WHERE knowledge_id = $1 AND status = 'pending'

-- name: purge_chunks
DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE knowledge_id = $1 AND document_id IS NOT NULL LIMIT $2)

-- name: purge_documents
DELETE FROM documents WHERE (org_id, id) IN (SELECT org_id, id FROM documents WHERE knowledge_id = $1 LIMIT $2)

-- name: purge_lexemes
DELETE FROM knowledge_lexemes WHERE (scope, lexeme) IN (
    SELECT l.scope, l.lexeme FROM knowledge_scopes AS s JOIN knowledge_lexemes AS l USING (scope) WHERE s.knowledge_id = $1 LIMIT $2)

-- name: purge_changes
DELETE FROM knowledge_changes WHERE id IN (
    SELECT c.id FROM knowledge_scopes AS s JOIN knowledge_changes AS c USING (scope) WHERE s.knowledge_id = $1 LIMIT $2)

-- name: purge_scope
DELETE FROM knowledge_scopes WHERE knowledge_id = $1
