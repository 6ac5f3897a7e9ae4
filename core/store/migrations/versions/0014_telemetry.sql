-- Revision 0014: telemetry of twins, its rollups, and the state of their rules.
-- Runs as hub_owner with search_path = hub, public.

-- What was measured. Partitions are days; they are made by make_telemetry() and dropped by drop_telemetry(), nothing else removes points
-- but the deletion of their twin.
CREATE TABLE telemetry (
    org_id   uuid NOT NULL,
    twin_id  uuid NOT NULL,
    metric   text COLLATE "C" NOT NULL,
    time     timestamptz NOT NULL,
    value    double precision NOT NULL,
    PRIMARY KEY (org_id, twin_id, metric, time)
) PARTITION BY RANGE (time);

-- What its points were in a second, a minute, an hour, which begins at `time`. Partitions are days, months, years.
CREATE TABLE telemetry_seconds (
    org_id     uuid NOT NULL,
    twin_id    uuid NOT NULL,
    metric     text COLLATE "C" NOT NULL,
    time       timestamptz NOT NULL,
    last_time  timestamptz NOT NULL,
    count      bigint NOT NULL,
    sum        double precision NOT NULL,
    min        double precision NOT NULL,
    max        double precision NOT NULL,
    last       double precision NOT NULL,
    PRIMARY KEY (org_id, twin_id, metric, time)
) PARTITION BY RANGE (time);
CREATE TABLE telemetry_minutes (LIKE telemetry_seconds, PRIMARY KEY (org_id, twin_id, metric, time)) PARTITION BY RANGE (time);
CREATE TABLE telemetry_hours (LIKE telemetry_seconds, PRIMARY KEY (org_id, twin_id, metric, time)) PARTITION BY RANGE (time);

-- The newest point of each metric.
CREATE TABLE telemetry_latest (
    org_id   uuid NOT NULL,
    twin_id  uuid NOT NULL,
    metric   text COLLATE "C" NOT NULL,
    time     timestamptz NOT NULL,
    value    double precision NOT NULL,
    PRIMARY KEY (org_id, twin_id, metric),
    -- Whoever writes while the twin is deleted fails by this, so nothing is left that the deletion has not seen.
    FOREIGN KEY (org_id, twin_id) REFERENCES twins ON DELETE CASCADE
) WITH (fillfactor = 50);

-- A rule of a twin, and where it stands. A rule that is changed is another one.
CREATE TABLE alerts (
    org_id      uuid NOT NULL,
    twin_id     uuid NOT NULL,
    rule        text COLLATE "C" NOT NULL,
    metric      text COLLATE "C" NOT NULL,
    definition  text NOT NULL,               -- JSON, as the twin has it
    state       text NOT NULL CHECK (state IN ('clear', 'pending', 'raised')),
    since       timestamptz,                 -- pending: since when it is beyond; else when it was raised or cleared last
    value       double precision,            -- by which it was raised or cleared last
    seen_to     timestamptz NOT NULL,        -- the newest point that it has seen; older ones that come late do not count
    PRIMARY KEY (org_id, twin_id, rule),
    FOREIGN KEY (org_id, twin_id) REFERENCES twins ON DELETE CASCADE
) WITH (fillfactor = 50);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['telemetry', 'telemetry_seconds', 'telemetry_minutes', 'telemetry_hours', 'telemetry_latest', 'alerts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_app', name);
    END LOOP;
END $$;

CREATE FUNCTION telemetry_units() RETURNS TABLE (parent text, unit text) LANGUAGE sql IMMUTABLE SET search_path = hub, pg_temp
BEGIN ATOMIC
    VALUES ('telemetry', 'day'), ('telemetry_seconds', 'day'), ('telemetry_minutes', 'month'), ('telemetry_hours', 'year');
END;

-- Makes the partitions that hold `moments`, where they are not there; returns how many it made. A partition has no grants: it is reached
-- by its table only, whose policies hold then. Its own are for whoever would grant something on it.
CREATE FUNCTION make_telemetry(moments timestamptz[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp AS $$
DECLARE
    made integer := 0;
    part record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('hub.make_telemetry', 0));
    FOR part IN
        SELECT DISTINCT u.parent, date_trunc(u.unit, m.moment, 'UTC') AS begins,
            (date_trunc(u.unit, m.moment AT TIME ZONE 'UTC') + ('1 ' || u.unit)::interval) AT TIME ZONE 'UTC' AS ends,
            u.parent || to_char(date_trunc(u.unit, m.moment AT TIME ZONE 'UTC'), '_YYYYMMDD') AS name
        FROM telemetry_units() u CROSS JOIN unnest(moments) AS m(moment)
    LOOP
        CONTINUE WHEN to_regclass(format('hub.%I', part.name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS) WITH (fillfactor = %s)', part.name, part.parent,
            CASE part.parent WHEN 'telemetry' THEN 100 WHEN 'telemetry_seconds' THEN 90 ELSE 60 END);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part.name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part.name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', part.name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', part.name);
        -- Attached, not made as a part: that would wait for everybody who reads the table.
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part.parent, part.name, part.begins, part.ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- Drops one partition of `table_name` that ends at `until` or before; returns how many it dropped. Whoever reads is not held up for long:
-- where it has to wait, it gives up, and is to be called again.
CREATE FUNCTION drop_telemetry(table_name text, until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = hub, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    gone text;
BEGIN
    SELECT c.relname INTO gone
    FROM telemetry_units() u
    JOIN pg_inherits i ON i.inhparent = to_regclass(format('hub.%I', u.parent))
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE u.parent = table_name
      AND (to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp + ('1 ' || u.unit)::interval) AT TIME ZONE 'UTC' <= until
    ORDER BY c.relname LIMIT 1;
    IF gone IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('DROP TABLE %I', gone);
    RETURN 1;
END $$;
REVOKE EXECUTE ON FUNCTION make_telemetry(timestamptz[]), drop_telemetry(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_telemetry(timestamptz[]) TO hub_app, hub_system;
GRANT EXECUTE ON FUNCTION drop_telemetry(text, timestamptz) TO hub_system;
