-- name: of_type
-- The newest bases of a type, of those that are named where any are.
SELECT id FROM knowledge
WHERE type COLLATE "C" = $1 AND ($2::uuid[] IS NULL OR id = ANY ($2))
ORDER BY created_at DESC, id DESC LIMIT $3
