-- Revision 0001: organisations, keys, the three resources with their history, the outbox and the log.
-- Runs as hub_owner with search_path = hub, public; roles and schema exist (core/store/bootstrap.sql).

-- The organisation that a connection speaks for; NULL, and so no rows, where none is set.
CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('hub.org_id', true), '')::uuid;

-- The relay's shard of an organisation: 0 to 15.
CREATE FUNCTION shard_of(org_id uuid) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashtextextended(org_id::text, 0) & 15)::smallint;

-- Secrets of the installation itself, made once by `migrate`; read by hub_owner alone.
CREATE TABLE secrets (
    name   text PRIMARY KEY,
    value  text NOT NULL
);

CREATE TABLE organisations (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    tier        text NOT NULL CHECK (tier IN ('free', 'pro', 'enterprise')),
    limits      jsonb NOT NULL DEFAULT '{}',   -- overrides of the tier's limits, by name
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE keys (
    id            uuid PRIMARY KEY,
    org_id        uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    name          text NOT NULL,
    hint          text NOT NULL,              -- first characters, to tell keys apart
    hash          bytea NOT NULL UNIQUE,      -- HMAC-SHA256 of the whole key
    scopes        text[] NOT NULL,
    resource_ids  uuid[],                     -- NULL: all; else the only ids that it may touch
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz,
    revoked_at    timestamptz
);
CREATE INDEX keys_by_org ON keys (org_id, created_at);

-- Key look-up happens before the organisation is known, so it passes row-level security, one hash at a time.
CREATE FUNCTION find_key(key_hash bytea)
    RETURNS TABLE (id uuid, org_id uuid, scopes text[], resource_ids uuid[], tier text, expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT k.id, k.org_id, k.scopes, k.resource_ids, o.tier, k.expires_at, k.revoked_at
    FROM keys k JOIN organisations o ON o.id = k.org_id WHERE k.hash = key_hash;
END;

-- The organisation that a token names, by id or by slug; the id is compared as text, since a slug cannot be cast.
CREATE INDEX organisations_by_id_text ON organisations ((id::text));
CREATE FUNCTION find_organisation(name text) RETURNS TABLE (id uuid, slug text, tier text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT o.id, o.slug, o.tier FROM organisations o WHERE o.slug = name OR o.id::text = lower(name);
END;

-- The three resources: the document is the JSON that GET answers; the columns beside it are what lists filter and sort by.
CREATE TABLE agents (
    org_id      uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id          uuid NOT NULL,
    version     bigint NOT NULL,
    name        text NOT NULL,
    type        text NOT NULL,
    status      text NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    document    text NOT NULL,
    search      text NOT NULL,                -- casefolded name, type and string values, for q=
    PRIMARY KEY (org_id, id)
);
CREATE TABLE knowledge (LIKE agents INCLUDING ALL, FOREIGN KEY (org_id) REFERENCES organisations ON DELETE CASCADE);
CREATE TABLE twins (LIKE agents INCLUDING ALL, FOREIGN KEY (org_id) REFERENCES organisations ON DELETE CASCADE);
CREATE INDEX agents_by_age ON agents (org_id, created_at DESC, id DESC);
CREATE INDEX knowledge_by_age ON knowledge (org_id, created_at DESC, id DESC);
CREATE INDEX twins_by_age ON twins (org_id, created_at DESC, id DESC);
CREATE INDEX agents_by_text ON agents USING gin (search gin_trgm_ops);
CREATE INDEX knowledge_by_text ON knowledge USING gin (search gin_trgm_ops);
CREATE INDEX twins_by_text ON twins USING gin (search gin_trgm_ops);

-- Every version that a resource ever had: valid from one event up to, not including, another (NULL: still).
CREATE TABLE agents_history (
    org_id      uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id          uuid NOT NULL,
    version     bigint NOT NULL,
    from_event  uuid NOT NULL,
    to_event    uuid,
    from_time   timestamptz NOT NULL,
    to_time     timestamptz,
    document    text NOT NULL,
    PRIMARY KEY (org_id, id, version)
);
CREATE TABLE knowledge_history (LIKE agents_history INCLUDING ALL, FOREIGN KEY (org_id) REFERENCES organisations ON DELETE CASCADE);
CREATE TABLE twins_history (LIKE agents_history INCLUDING ALL, FOREIGN KEY (org_id) REFERENCES organisations ON DELETE CASCADE);

-- Events of committed changes that have no position yet. CACHE 1, the default, keeps seq in order of insertion across sessions.
CREATE TABLE outbox (
    seq       bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    org_id    uuid NOT NULL,
    shard     smallint NOT NULL GENERATED ALWAYS AS (shard_of(org_id)) STORED,
    event_id  uuid NOT NULL,
    type      text NOT NULL,
    subject   text NOT NULL,
    channel   text NOT NULL,                  -- the narrowest channel of the event, agents:<id>
    time      timestamptz NOT NULL,
    envelope  text NOT NULL,                  -- the whole event as JSON
    short     text                            -- what travels instead of an envelope over 32 KiB
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 0,
        autovacuum_vacuum_insert_threshold = 5000);
CREATE INDEX outbox_by_shard ON outbox (shard, seq);

-- The log. Its primary key has the last word on positions.
CREATE TABLE events (
    org_id       uuid NOT NULL,
    position     bigint NOT NULL,
    event_id     uuid NOT NULL,
    type         text NOT NULL,
    subject      text NOT NULL,
    channel      text NOT NULL,
    namespace    text NOT NULL GENERATED ALWAYS AS (split_part(channel, ':', 1)) STORED,
    time         timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,        -- when the relay gave the position; never falls within an organisation
    envelope     text NOT NULL,
    short        text,
    PRIMARY KEY (org_id, position)
);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_channel ON events (org_id, channel, position);
CREATE INDEX events_by_namespace ON events (org_id, namespace, position);

-- The last position of each organisation, and the last that is known to be published.
CREATE TABLE heads (
    org_id       uuid PRIMARY KEY REFERENCES organisations ON DELETE CASCADE,
    shard        smallint NOT NULL GENERATED ALWAYS AS (shard_of(org_id)) STORED,
    position     bigint NOT NULL DEFAULT 0,
    published    bigint NOT NULL DEFAULT 0,
    recorded_at  timestamptz NOT NULL DEFAULT '-infinity',
    CHECK (published <= position)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX heads_unpublished ON heads (shard) WHERE published < position;

CREATE FUNCTION make_head() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
BEGIN
    INSERT INTO heads (org_id) VALUES (NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER make_head AFTER INSERT ON organisations FOR EACH ROW EXECUTE FUNCTION make_head();

-- The life of the log: positions of two epochs are never compared.
CREATE TABLE log_epoch (
    only_row           boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch              text NOT NULL,
    system_identifier  text NOT NULL,
    timeline           integer NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- First results of writes that carried an idempotency key. `result` is NULL while a claim is being worked on.
CREATE TABLE idempotency (
    org_id       uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    operation    text NOT NULL,
    key          text NOT NULL,
    input_hash   bytea NOT NULL,
    result       text,                        -- the typed result as JSON
    event_id     uuid,                        -- the last event that the write emitted
    lease_until  timestamptz,                 -- of a claim
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, operation, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

CREATE FUNCTION sweep_idempotency(most integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    WITH old AS (
        SELECT org_id, operation, key FROM idempotency WHERE expires_at < clock_timestamp() LIMIT most
    ), gone AS (
        DELETE FROM idempotency USING old
        WHERE (idempotency.org_id, idempotency.operation, idempotency.key) = (old.org_id, old.operation, old.key)
        RETURNING 1
    )
    SELECT count(*) FROM gone;
END;

CREATE TABLE audit (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    time        timestamptz NOT NULL,
    caller      text NOT NULL,
    operation   text NOT NULL,
    target      text,                         -- what it touched, agents/<id>
    request_id  text NOT NULL,
    outcome     text NOT NULL                 -- ok, or the error's code
);
CREATE INDEX audit_by_time ON audit (org_id, time DESC);

-- Row-level security: hub_app sees one organisation; hub_system works on the log for all; hub_owner runs the commands.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keys', 'agents', 'knowledge', 'twins', 'agents_history', 'knowledge_history', 'twins_history',
                                'outbox', 'events', 'heads', 'idempotency', 'audit'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['outbox', 'events', 'heads', 'audit'] LOOP
        EXECUTE format('CREATE POLICY relay ON %I TO hub_system USING (true)', name);
    END LOOP;
    ALTER TABLE organisations ENABLE ROW LEVEL SECURITY;
    ALTER TABLE organisations FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_organisation ON organisations FOR SELECT TO hub_app USING (id = current_org());
    CREATE POLICY commands ON organisations TO hub_owner USING (true);
    CREATE POLICY relay ON organisations FOR SELECT TO hub_system USING (true);
END $$;

GRANT USAGE ON SCHEMA hub TO hub_app, hub_system;
GRANT SELECT ON organisations, keys, heads, log_epoch TO hub_app;
GRANT INSERT ON keys TO hub_app;
GRANT UPDATE (revoked_at) ON keys TO hub_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON agents, knowledge, twins TO hub_app;
GRANT SELECT, INSERT, UPDATE ON agents_history, knowledge_history, twins_history TO hub_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO hub_app;
GRANT SELECT ON events TO hub_app;
GRANT INSERT ON outbox TO hub_app;
GRANT SELECT, INSERT, UPDATE (target, outcome) ON audit TO hub_app;
GRANT SELECT, INSERT, DELETE ON outbox TO hub_system;
GRANT SELECT, INSERT ON events TO hub_system;
GRANT SELECT, UPDATE ON heads TO hub_system;
GRANT SELECT, INSERT, UPDATE ON log_epoch TO hub_system;
GRANT SELECT (id) ON organisations TO hub_system;
GRANT INSERT ON audit TO hub_system;

-- Functions are not for PUBLIC; SECURITY DEFINER ones least of all.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA hub FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_org(), shard_of(uuid) TO hub_app, hub_system;
GRANT EXECUTE ON FUNCTION find_key(bytea), find_organisation(text), sweep_idempotency(integer) TO hub_app;
