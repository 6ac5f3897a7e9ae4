-- What a deleted agent, or session, leaves behind; {of}: agent_id or session_id. Row-level security adds the organisation to every WHERE.
-- Each statement touches $2 rows at most.

-- name: open
SELECT id, org_id FROM executions WHERE agent_id = $1 AND status IN ('queued', 'running', 'requires_action') ORDER BY id LIMIT $2

-- name: purge_steps
-- Here and below: of what has ended, and whose rooms have heard of it; they are told by these rows.
DELETE FROM execution_steps WHERE (org_id, execution_id, ordinal) IN (
    SELECT s.org_id, s.execution_id, s.ordinal
    FROM executions AS e JOIN execution_steps AS s ON s.org_id = e.org_id AND s.execution_id = e.id
    WHERE e.{of} = $1 AND e.status IN ('completed', 'failed', 'cancelled') AND e.is_announced LIMIT $2)

-- name: purge_executions
DELETE FROM executions WHERE (org_id, id) IN (
    SELECT org_id, id FROM executions
    WHERE {of} = $1 AND status IN ('completed', 'failed', 'cancelled') AND is_announced LIMIT $2)

-- name: purge_messages
DELETE FROM messages WHERE (org_id, id) IN (
    SELECT m.org_id, m.id FROM sessions AS s JOIN messages AS m ON m.org_id = s.org_id AND m.session_id = s.id
    WHERE s.agent_id = $1 LIMIT $2)

-- name: purge_sessions
DELETE FROM sessions WHERE (org_id, id) IN (SELECT org_id, id FROM sessions WHERE agent_id = $1 LIMIT $2)

-- name: left
SELECT EXISTS (SELECT FROM executions WHERE agent_id = $1) OR EXISTS (SELECT FROM sessions WHERE agent_id = $1)

-- name: left_of_session
SELECT EXISTS (SELECT FROM executions WHERE session_id = $1)
