-- name: delegates
-- Agents that one may delegate to: of these ids, where any are given; $2: those that the caller may touch (NULL: all).
SELECT id, name, type FROM agents
WHERE ($1::uuid[] IS NULL OR id = ANY ($1)) AND ($2::uuid[] IS NULL OR id = ANY ($2)) AND id <> $3
ORDER BY created_at DESC, id DESC LIMIT $4

-- name: delegate
SELECT 1 FROM agents WHERE id = $1

-- name: simulated
-- Twins that one may simulate: of these ids, where any are given; $2: those that the caller may touch (NULL: all).
SELECT id, name FROM twins
WHERE ($1::uuid[] IS NULL OR id = ANY ($1)) AND ($2::uuid[] IS NULL OR id = ANY ($2))
ORDER BY created_at DESC, id DESC LIMIT $3

-- name: is_open
-- Whether the run that calls goes on: here, or at another worker.
SELECT EXISTS (SELECT FROM executions WHERE id = $1 AND status IN ('queued', 'running', 'requires_action'))
