-- name: listed
-- Documents as clients see them, for the place of their table. The times of the hub have six digits and a Z everywhere.
SELECT id, knowledge_id, name, status, content_type, created_at, updated_at, json_build_object(
        'id', id, 'knowledge_id', knowledge_id, 'name', name, 'version', version, 'status', status, 'content_type', content_type,
        'url', url, 'bytes', bytes, 'hash', encode(hash, 'hex'), 'metadata', metadata, 'title', title, 'language', language,
        'pages', pages, 'chunks', chunks, 'error', error::json,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text AS document
FROM documents
