-- Documents of a base in the order of their names, page by page; row-level security adds the organisation to every WHERE.

-- name: page
SELECT id, name, version, status, content_type, url, encode(hash, 'hex') AS hash, bytes, metadata::text AS metadata, title, language,
       pages, chunks, created_at, updated_at
FROM documents WHERE knowledge_id = $1 AND ($2::text IS NULL OR name > $2) ORDER BY name LIMIT $3

-- name: content
-- Contents are stored as they are (STORAGE EXTERNAL), so that a part of one is read by itself.
SELECT substring(content FROM $4 FOR $5) AS content
FROM document_versions WHERE org_id = $1 AND document_id = $2 AND version = $3
