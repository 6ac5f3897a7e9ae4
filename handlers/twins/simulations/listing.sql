-- name: listed
-- Simulations as clients see them in lists, for the place of their table.
SELECT id, twin_id, branch_id, scenario, status, created_at, json_build_object(
        'id', id, 'twin_id', twin_id, 'branch_id', branch_id, 'status', status, 'twin_version', twin_version, 'scenario', scenario,
        'parameters', parameters::json, 'horizon', horizon, 'time_unit', time_unit, 'runs', runs, 'seed', seed,
        'progress', json_build_object('done', done, 'total', total), 'summary', summary::json, 'notes', notes::json, 'error', error::json,
        'attempt', attempt, 'created_by', created_by,
        'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'started_at', to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'completed_at', to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'deadline_at', to_char(deadline_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'version', version)::text AS document
FROM simulations
WHERE EXISTS (SELECT FROM twins WHERE twins.id = twin_id)
