-- Revision 0015: simulations of twins.
-- Runs as hub_owner with search_path = hub, public.

-- One simulation. `attempt` is its fencing token: whoever takes it up adds one, and every write names the attempt. What is run was settled
-- when it was asked for: the twin may change meanwhile.
CREATE TABLE simulations (
    org_id        uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id            uuid NOT NULL,
    twin_id       uuid NOT NULL,
    branch_id     uuid,                      -- whose document was simulated; NULL: the twin's own
    twin_version  bigint NOT NULL,           -- of that document
    status        text NOT NULL CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    scenario      text NOT NULL,
    parameters    text NOT NULL,             -- JSON, with defaults
    plan          text NOT NULL,             -- JSON: handlers/twins/simulation/scenarios.py, Built
    has_baseline  boolean NOT NULL,          -- whether the same is run without the scenario
    notes         text NOT NULL,             -- JSON: what was assumed
    horizon       double precision NOT NULL,
    time_unit     text NOT NULL,
    runs          integer NOT NULL,
    seed          bigint NOT NULL,
    attempt       bigint NOT NULL DEFAULT 0,
    done          integer NOT NULL DEFAULT 0,   -- runs of this attempt, of case and baseline
    total         integer NOT NULL,
    tenths        integer NOT NULL DEFAULT 0,   -- of the way, that the log was told of
    summary       text,                      -- JSON
    outcome       text,                      -- JSON: series, baseline, notable
    error         text,                      -- JSON: code and message
    key           text,                      -- of a tool's call, which begins one simulation however often it is tried
    is_announced  boolean NOT NULL DEFAULT true,  -- whether its room has heard of its end
    version       bigint NOT NULL DEFAULT 1,
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    deadline_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
) WITH (fillfactor = 70);
CREATE INDEX simulations_by_age ON simulations (org_id, created_at DESC, id DESC);
CREATE INDEX simulations_by_twin ON simulations (org_id, twin_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX simulations_by_key ON simulations (org_id, key) WHERE key IS NOT NULL;
CREATE INDEX simulations_open ON simulations (deadline_at) WHERE status IN ('queued', 'running');
CREATE INDEX simulations_to_announce ON simulations (id) WHERE NOT is_announced;

ALTER TABLE simulations ENABLE ROW LEVEL SECURITY;
ALTER TABLE simulations FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON simulations TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON simulations TO hub_owner USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON simulations TO hub_app;
-- Announcing, and finding what nobody works on any more, is done for all organisations.
CREATE POLICY tending ON simulations TO hub_system USING (true);
GRANT SELECT, UPDATE (is_announced) ON simulations TO hub_system;
