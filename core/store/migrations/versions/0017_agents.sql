-- Revision 0017: what executions come to beside their text, and credentials of agents' MCP servers.
-- Runs as hub_owner with search_path = hub, public.

ALTER TABLE executions
    ADD COLUMN output text,                      -- JSON of the schema that was asked for
    ADD COLUMN notes  text NOT NULL DEFAULT '[]';  -- JSON: why tools were not there in the last attempt

-- What MCP servers know an agent by. Each is sealed for its server's address (handlers/agents/credentials.py).
CREATE TABLE agent_credentials (
    org_id    uuid NOT NULL,
    agent_id  uuid NOT NULL,
    server    text NOT NULL,                     -- its name in config.mcp
    field     text NOT NULL,                     -- token, or headers.<name>
    sealed    text NOT NULL,
    PRIMARY KEY (org_id, agent_id, server, field),
    FOREIGN KEY (org_id, agent_id) REFERENCES agents ON DELETE CASCADE
);
ALTER TABLE agent_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON agent_credentials TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON agent_credentials TO hub_owner USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_credentials TO hub_app;
