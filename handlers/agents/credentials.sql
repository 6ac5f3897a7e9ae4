-- Credentials of agents' MCP servers. Row-level security adds the organisation to every WHERE; the agent's row is held by who writes.

-- name: keep
-- $2, $3: server and field of all that the agent has from now on; $4, $5, $6: of those that are new, and what is kept of each.
WITH gone AS (
    DELETE FROM agent_credentials
    WHERE agent_id = $1 AND (server, field) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))
)
INSERT INTO agent_credentials (org_id, agent_id, server, field, sealed)
SELECT current_org(), $1, * FROM unnest($4::text[], $5::text[], $6::text[])
ON CONFLICT (org_id, agent_id, server, field) DO UPDATE SET sealed = excluded.sealed

-- name: credentials
SELECT server, field, sealed FROM agent_credentials WHERE agent_id = $1
