-- Revision 0004: durable jobs and their schedules.
-- Runs as hub_owner with search_path = hub, public.

-- `attempt` is the fencing token: it rises with each claim and never falls. `released` counts the claims that a draining worker gave
-- back, which are no attempts.
CREATE TABLE jobs (
    id                   uuid PRIMARY KEY,
    org_id               uuid REFERENCES organisations ON DELETE CASCADE,   -- NULL: the hub's own
    -- Whose turn it is when workers choose. The hub's own jobs are one owner more, the last.
    owner                uuid NOT NULL GENERATED ALWAYS AS (coalesce(org_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) STORED,
    kind                 text NOT NULL,
    key                  text,                -- one of a key is pending at most
    payload              text NOT NULL,       -- JSON
    status               text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    priority             smallint NOT NULL DEFAULT 0,
    run_at               timestamptz NOT NULL,
    attempt              integer NOT NULL DEFAULT 0,
    released             integer NOT NULL DEFAULT 0,
    max_attempts         integer,             -- NULL: the kind's own, as the worker that claims it knows
    worker               bigint,              -- the number of the worker's advisory lock
    lease_until          timestamptz,         -- by PostgreSQL's clock
    cancel_requested_at  timestamptz,
    progress             text,                -- JSON, as are the next two
    result               text,
    error                text,
    created_at           timestamptz NOT NULL,
    started_at           timestamptz,         -- of the first attempt
    finished_at          timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX jobs_by_turn ON jobs (kind, owner, priority DESC, run_at, id) WHERE status = 'queued';
CREATE INDEX jobs_by_time ON jobs (kind, run_at) WHERE status = 'queued';
CREATE INDEX jobs_running ON jobs (worker, id) WHERE status = 'running';
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_age ON jobs (org_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX jobs_one_pending ON jobs (owner, kind, key) WHERE key IS NOT NULL AND status IN ('queued', 'running');

CREATE TABLE schedules (
    name       text PRIMARY KEY,
    rule       text NOT NULL,                 -- as the release wrote it: another rule begins anew
    next_at    timestamptz NOT NULL,
    last_at    timestamptz,
    last_job   uuid
);

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON jobs TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON jobs TO hub_owner USING (true);
CREATE POLICY workers ON jobs TO hub_system USING (true);

-- Requests make jobs and ask for their end; handlers hold their job and end it with what they did, as hub_app too.
GRANT SELECT, INSERT ON jobs TO hub_app;
GRANT UPDATE (status, lease_until, cancel_requested_at, progress, result, error, finished_at) ON jobs TO hub_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO hub_system;
GRANT SELECT, INSERT, UPDATE ON schedules TO hub_system;
