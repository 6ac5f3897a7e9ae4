-- Executions and their steps. Row-level security adds the organisation to every WHERE. Every write of a run names its attempt ($2): one
-- that was taken over, cancelled or ended finds no row.

-- name: agent
-- Kept until the transaction ends: an agent is not deleted while it gets an execution.
SELECT document FROM agents WHERE id = $1 FOR KEY SHARE

-- name: agent_now
SELECT document FROM agents WHERE id = $1

-- name: insert
INSERT INTO executions (org_id, id, agent_id, session_id, message_id, parent_id, parent_step, depth, status, query, context, options,
                        rights, created_at, deadline_at)
VALUES (current_org(), $1, $2, $3, $4, $5, $6, $7, 'queued', $8, $9, $10, $11, $12, $13)
RETURNING {shown}

-- name: find
SELECT {shown} FROM executions WHERE id = $1

-- name: hold
SELECT {shown} FROM executions WHERE id = $1 FOR UPDATE

-- name: take
-- An attempt begins with what the stored steps have written. `was_paused`: its readers have that, and no more.
UPDATE executions AS e
SET attempt = e.attempt + 1, status = 'running', started_at = coalesce(e.started_at, $2), places = NULL, action = NULL,
    text = kept.text, sequence = kept.sequence, is_paused = false, version = e.version + 1
FROM (
    SELECT (SELECT is_paused FROM executions WHERE id = $1) AS was_paused,
           coalesce(string_agg(s.text, '' ORDER BY s.ordinal), '') AS text, coalesce(max(s.sequence), 0) AS sequence
    FROM execution_steps AS s WHERE s.execution_id = $1 AND s.status IN ('completed', 'failed')
) AS kept
WHERE e.id = $1 AND e.status IN ('queued', 'running')
RETURNING {e.shown}, kept.was_paused

-- name: steps
SELECT {step} FROM execution_steps WHERE execution_id = $1 ORDER BY ordinal

-- name: waiting_steps
SELECT ordinal, call_id FROM execution_steps WHERE execution_id = $1 AND status = 'waiting' ORDER BY ordinal

-- name: steps_page
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM execution_steps WHERE execution_id = $1) AS counted
LEFT JOIN (SELECT {step} FROM execution_steps WHERE execution_id = $1 ORDER BY ordinal LIMIT $2 OFFSET $3) AS page ON true
ORDER BY page.ordinal

-- name: save
UPDATE executions SET text = $3, sequence = $4, places = $5 WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: count
-- Holds the row until the transaction ends: what follows is of this attempt.
UPDATE executions
SET text = $3, sequence = $4, places = $5, model = coalesce($6, model), usage = $7, version = version + 1
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING {shown}

-- name: note
-- Why tools are not there in this attempt; what the attempt before has noted does not count.
UPDATE executions SET notes = $3, version = version + 1 WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING true

-- name: begin_step
-- A step that another attempt had begun is begun again, and one that a person has said yes to is called. Without its execution's attempt there is no row.
INSERT INTO execution_steps (org_id, execution_id, ordinal, kind, name, status, attempt, call_id, input, started_at)
SELECT org_id, id, $3, $4, $5, $6, attempt, $7, $8, $9 FROM executions WHERE id = $1 AND attempt = $2 AND status = 'running' FOR SHARE
ON CONFLICT (org_id, execution_id, ordinal) DO UPDATE SET attempt = excluded.attempt, status = excluded.status
WHERE execution_steps.status IN ('running', 'waiting')
RETURNING {step}

-- name: wait_step
UPDATE execution_steps SET status = 'waiting' WHERE execution_id = $1 AND ordinal = $2 AND status IN ('running', 'waiting')
RETURNING ordinal

-- name: waiting
SELECT ordinal FROM execution_steps WHERE execution_id = $1 AND status = 'waiting'

-- name: end_step
UPDATE execution_steps
SET status = $3, sequence = $4, text = $5, calls = $6, output = $7, citations = $8, error = $9, usage = $10, name = coalesce($11, name),
    finished_at = $12
WHERE execution_id = $1 AND ordinal = $2
RETURNING {step}

-- name: answer_step
-- A result that a caller has brought, a person's yes (the step is called then), or what a delegate has answered.
UPDATE execution_steps SET status = $3, output = $4, error = $5, citations = $6, finished_at = $7
WHERE execution_id = $1 AND ordinal = $2 AND status = 'waiting'
RETURNING {step}

-- name: approve_step
UPDATE execution_steps SET is_approved = true WHERE execution_id = $1 AND ordinal = $2 AND status = 'waiting' AND NOT is_approved
RETURNING {step}

-- name: pause
-- It waits for its caller (an action), or for a delegate (no action; it is running all the same).
UPDATE executions
SET status = $3, action = $4, text = $5, sequence = $6, places = $7, usage = $8, is_paused = true, is_announced = $4::text IS NULL AND is_announced,
    version = version + 1
WHERE id = $1 AND attempt = $2 AND status = 'running'
RETURNING {shown}

-- name: resume
UPDATE executions SET status = 'queued', action = NULL, is_announced = true, version = version + 1 WHERE id = $1
RETURNING {shown}

-- name: ask_less
UPDATE executions SET action = $2, version = version + 1 WHERE id = $1
RETURNING {shown}

-- name: end
-- From outside (no attempt named) the attempt rises: whoever works on it is outrun. Without places its rooms are told the text once more.
UPDATE executions
SET status = $2, attempt = attempt + $3, places = $11, text = coalesce($4, text), sequence = coalesce($5, sequence), citations = coalesce($6, citations),
    output = $12, error = $7, usage = coalesce($8, usage), answer_id = $9, action = NULL, finished_at = $10, is_announced = false, version = version + 1
WHERE id = $1
RETURNING {shown}

-- name: answer
INSERT INTO messages (org_id, id, session_id, parent_id, role, text, attachments, citations, execution_id, created_by, created_at)
SELECT org_id, $2, id, $3, 'assistant', $4, '[]', $5, $6, $7, $8 FROM sessions WHERE id = $1
RETURNING id

-- name: free_session
UPDATE sessions SET active_id = NULL, head_id = coalesce($3, head_id), version = version + 1, updated_at = $4
WHERE id = $1 AND active_id = $2

-- name: session
SELECT s.agent_id, s.active_id FROM sessions AS s WHERE s.id = $1 AND EXISTS (SELECT FROM agents AS a WHERE a.id = s.agent_id)

-- name: children
SELECT id FROM executions WHERE parent_id = $1 AND status IN ('queued', 'running', 'requires_action') ORDER BY id

-- name: to_announce
-- For all organisations.
SELECT {shown} FROM executions WHERE NOT is_announced ORDER BY id LIMIT $1

-- name: announced
-- Not if it went on meanwhile.
UPDATE executions SET is_announced = true
WHERE NOT is_announced AND (id, attempt) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))

-- name: late
-- For all organisations: whose time is over.
SELECT id, org_id FROM executions WHERE status IN ('queued', 'running', 'requires_action') AND deadline_at <= $1
ORDER BY deadline_at LIMIT $2

-- name: left
-- For all organisations: those that nobody works on, since their job has ended without them.
SELECT id, org_id FROM executions AS e
WHERE status IN ('queued', 'running') AND created_at < $1::timestamptz - interval '5 seconds'
  AND NOT EXISTS (SELECT FROM jobs AS j
                  WHERE j.owner = e.org_id AND j.kind = 'agents.run' AND j.key = e.id::text AND j.status IN ('queued', 'running'))
  AND NOT EXISTS (SELECT FROM executions AS c
                  WHERE c.org_id = e.org_id AND c.parent_id = e.id AND c.status IN ('queued', 'running', 'requires_action'))
ORDER BY id LIMIT $2

-- name: is_left
-- The same of one, which is held: another may have made it a job meanwhile.
SELECT NOT EXISTS (SELECT FROM jobs WHERE owner = current_org() AND kind = 'agents.run' AND key = $1::uuid::text AND status IN ('queued', 'running'))
   AND NOT EXISTS (SELECT FROM executions WHERE parent_id = $1 AND status IN ('queued', 'running', 'requires_action'))
