-- Revision 0005: durable subscriptions, their deliveries, attempts, dead letters and replays.
-- Runs as hub_owner with search_path = hub, public.

-- `cursor` is how far the log was looked at for this subscription: what matched up to there has its delivery, or had it.
CREATE TABLE subscriptions (
    org_id            uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id                uuid NOT NULL,
    version           bigint NOT NULL DEFAULT 1,
    name              text NOT NULL,
    delivery          text NOT NULL CHECK (delivery IN ('push', 'pull', 'socket')),
    types             text[] NOT NULL,            -- globs as they were sent
    subjects          text[] NOT NULL,            -- globs; empty: all
    type_patterns     text[] NOT NULL,            -- the same for LIKE
    subject_patterns  text[] NOT NULL,
    cursor            bigint NOT NULL,
    status            text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
    status_reason     text,                       -- why it is disabled
    ordered           boolean NOT NULL,           -- one of a subject at a time; never changed
    max_in_flight     integer NOT NULL CHECK (max_in_flight > 0),
    ack_seconds       double precision NOT NULL CHECK (ack_seconds > 0),
    delays            double precision[] NOT NULL CHECK (cardinality(delays) > 0), -- seconds before the second, third, ... attempt
    max_deliveries    integer NOT NULL CHECK (max_deliveries > 0),
    target            uuid,                       -- of push: what it is pushed to
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX subscriptions_by_age ON subscriptions (org_id, created_at DESC, id DESC);

-- What is outstanding. `due_at` is when it may be handed out: at once, after a delay, or when the lease of who has it ends.
-- No foreign key, which would cost a look for each row: who writes here holds the subscription's row, or a row of it here.
CREATE TABLE deliveries (
    org_id           uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    id               bigint GENERATED ALWAYS AS IDENTITY (CACHE 1), -- rises with the position, in one subscription
    position         bigint NOT NULL,
    event_id         uuid NOT NULL,
    subject          text NOT NULL,
    replay_id        uuid,                       -- NULL: live
    attempt          integer NOT NULL DEFAULT 0, -- how often it was handed out
    due_at           timestamptz NOT NULL,
    lease            uuid,                       -- the token of who has it, or had it last
    leased_at        timestamptz,
    PRIMARY KEY (org_id, subscription_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);
CREATE INDEX deliveries_by_due ON deliveries (org_id, subscription_id, due_at);

-- How each attempt ended that is worth keeping: what failed, and of push what succeeded too.
CREATE TABLE attempts (
    org_id           uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    delivery         bigint NOT NULL,
    number           integer NOT NULL,           -- 1: the first
    event_id         uuid NOT NULL,
    started_at       timestamptz NOT NULL,
    ended_at         timestamptz NOT NULL,
    outcome          text NOT NULL CHECK (outcome IN ('acknowledged', 'refused', 'expired')),
    status           integer,                    -- of an HTTP answer
    answer           text,                       -- its first 4 KiB, or the consumer's reason
    is_over          boolean NOT NULL,           -- its delivery is neither outstanding nor a dead letter: it may be swept
    PRIMARY KEY (org_id, subscription_id, delivery, number)
);
CREATE INDEX attempts_over ON attempts (ended_at) WHERE is_over;

CREATE TABLE dead_letters (
    org_id           uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id               uuid NOT NULL,
    subscription_id  uuid NOT NULL,
    delivery         bigint NOT NULL,
    position         bigint NOT NULL,
    event_id         uuid NOT NULL,
    type             text NOT NULL,
    subject          text NOT NULL,
    replay_id        uuid,
    attempts         integer NOT NULL,
    reason           text NOT NULL CHECK (reason IN ('max_deliveries', 'rejected')),
    died_at          timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX dead_letters_by_age ON dead_letters (org_id, subscription_id, died_at DESC, id DESC);
CREATE INDEX dead_letters_by_delivery ON dead_letters (org_id, subscription_id, delivery);

-- A part of the log that is delivered once more; the filter is the subscription's of when it was asked for.
CREATE TABLE replays (
    org_id            uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id                uuid NOT NULL,
    subscription_id   uuid NOT NULL,
    target_id         uuid NOT NULL,              -- the subscription that gets it
    type_patterns     text[] NOT NULL,
    subject_patterns  text[] NOT NULL,
    after             bigint NOT NULL,            -- begins behind this position
    cursor            bigint NOT NULL,
    upto              bigint NOT NULL,            -- and ends with this one
    rate              double precision CHECK (rate >= 0.001), -- events a second; NULL: as fast as they are taken
    placed            bigint NOT NULL DEFAULT 0,  -- how many matched so far
    paced_at          timestamptz NOT NULL,       -- from when on the pace is counted
    status            text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'paused', 'cancelled', 'done')),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX replays_by_age ON replays (org_id, subscription_id, created_at DESC, id DESC);
CREATE INDEX replays_running ON replays (org_id, target_id) WHERE status = 'running';

-- hub_app sees one organisation; hub_system delivers for all.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['subscriptions', 'deliveries', 'attempts', 'dead_letters', 'replays'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
        EXECUTE format('CREATE POLICY delivery ON %I TO hub_system USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_app, hub_system', name);
    END LOOP;
END $$;

-- Attempts of more than a week ago that belong to nothing any more, oldest first. Those of dead letters and of what is outstanding are not
-- looked at, and an index has no others: a step costs what it removes. now() and not the clock, which no index is read by.
CREATE FUNCTION sweep_attempts(most integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    WITH gone AS (
        DELETE FROM attempts
        WHERE ctid = ANY (ARRAY(
            SELECT a.ctid FROM attempts a WHERE a.is_over AND a.ended_at < now() - interval '7 days' ORDER BY a.ended_at LIMIT most))
        RETURNING 1
    )
    SELECT count(*) FROM gone;
END;
REVOKE EXECUTE ON FUNCTION sweep_attempts(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_attempts(integer) TO hub_app;
