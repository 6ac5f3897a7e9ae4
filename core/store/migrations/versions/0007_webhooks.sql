-- Revision 0007: webhooks. Runs as hub_owner with search_path = hub, public.

-- A webhook is the push subscription of the same id; here stands what that has not: where to, and what it is signed with.
CREATE TABLE webhooks (
    org_id          uuid NOT NULL,
    id              uuid NOT NULL,
    version         bigint NOT NULL DEFAULT 1,   -- of these columns; what clients see also counts the subscription's
    url             text NOT NULL,
    description     text NOT NULL,
    max_per_second  double precision CHECK (max_per_second > 0),  -- NULL: as fast as it answers
    paced_at        timestamptz NOT NULL,        -- from when on its rate is counted
    secret          text NOT NULL,               -- sealed under the installation's secret (handlers/webhooks/secrets.py)
    old_secret      text,                        -- of the last rotation, sealed
    old_until       timestamptz,                 -- and until when it signs too
    failing_since   timestamptz,                 -- NULL: the last answer was an acknowledgement, or there was none
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, id) REFERENCES subscriptions ON DELETE CASCADE
) WITH (fillfactor = 70);

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON webhooks TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON webhooks TO hub_owner USING (true);
CREATE POLICY delivery ON webhooks TO hub_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks TO hub_app;
GRANT SELECT, UPDATE ON webhooks TO hub_system;
