-- name: named
-- The documents of a base that have these names or ids.
SELECT id, name FROM documents WHERE knowledge_id = $1 AND (name = ANY ($2) OR id = ANY ($3))
