-- name: listed
-- Executions as clients see them in lists, for the place of their table: all but what may be long is there.
SELECT id, agent_id, session_id, status, created_at, json_build_object(
        'id', id, 'agent_id', agent_id, 'session_id', session_id, 'message_id', message_id, 'answer_id', answer_id,
        'parent_id', parent_id, 'status', status, 'query', query, 'context', context::json, 'text', text, 'output', output::json, 'citations', citations::json,
        'action', action::json, 'model', model,
        'usage', '{"input_tokens": 0, "output_tokens": 0, "steps": 0}'::jsonb || usage::jsonb, 'error', error::json, 'notes', notes::json, 'attempt', attempt,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'started_at', to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'completed_at', to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'deadline_at', to_char(deadline_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'version', version)::text AS document
FROM executions
