-- name: listed
-- Sessions as clients see them, for the place of their table. The times of the hub have six digits and a Z everywhere.
SELECT id, agent_id, title, created_at, updated_at, json_build_object(
        'id', id, 'agent_id', agent_id, 'title', nullif(title, ''), 'metadata', metadata::json, 'head_id', head_id,
        'active_id', active_id, 'created_by', created_by,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'version', version)::text AS document
FROM sessions
