-- Revision 0003: what lists sort and filter by.
-- Runs as hub_owner with search_path = hub, public.

-- One part of a document as filters see it; NULL where it is not there, empty, or over 16 KiB: a row stays cheap to look at.
CREATE FUNCTION attribute_of(part json) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN part IS NULL OR part::text IN ('{}', '[]', 'null') OR octet_length(part::text) > 16384 THEN NULL
        ELSE part::text::jsonb
    END;

CREATE FUNCTION attributes_of(document text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    -- PostgreSQL has no NUL: \u0000 is left out, but not what only looks like it behind an escaped backslash.
    whole    json  := CASE WHEN strpos(document, '\u0000') = 0 THEN document
                           ELSE regexp_replace(document, '(\\\\)|\\u0000', '\1', 'g') END;
    metadata jsonb := hub.attribute_of(whole -> 'metadata');
    data     jsonb := hub.attribute_of(whole -> 'data');
BEGIN
    RETURN CASE WHEN metadata IS NULL THEN '{}' ELSE jsonb_build_object('metadata', metadata) END
        || CASE WHEN data IS NULL THEN '{}' ELSE jsonb_build_object('data', data) END;
END $$;

-- A trigger, not the hub's statements: the release before writes documents too.
CREATE FUNCTION keep_attributes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.attributes := hub.attributes_of(NEW.document);
    RETURN NEW;
END $$;

-- Operators that might leak (LIKE, those of jsonb) are not for an index while row-level security stands before them, so these two
-- functions pass it, as find_key does: they give ids of the session's own organisation only. Planned for each value: a short
-- pattern, or a value that all have, is better found among the organisation's own rows.
DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['agents', 'knowledge', 'twins'] LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN attributes jsonb NOT NULL DEFAULT ''{}''', kind);
        EXECUTE format('CREATE TRIGGER keep_attributes BEFORE INSERT OR UPDATE OF document ON %I
            FOR EACH ROW EXECUTE FUNCTION keep_attributes()', kind);
        EXECUTE format('UPDATE %I SET attributes = attributes_of(document) WHERE attributes_of(document) <> ''{}''', kind);
        EXECUTE format('CREATE INDEX %I ON %I (org_id, name COLLATE "C", id)', kind || '_by_name', kind);
        EXECUTE format('CREATE INDEX %I ON %I (org_id, updated_at, id)', kind || '_by_change', kind);
        EXECUTE format('CREATE INDEX %I ON %I (org_id, type COLLATE "C", created_at, id)', kind || '_by_type', kind);
        EXECUTE format('CREATE INDEX %I ON %I (org_id, status COLLATE "C", created_at, id)', kind || '_by_status', kind);
        -- Most have nothing in it, and then it costs them nothing. An equality never holds for those.
        EXECUTE format('CREATE INDEX %I ON %I USING gin (attributes jsonb_path_ops) WHERE attributes <> ''{}''',
            kind || '_by_attributes', kind);
        EXECUTE format('CREATE FUNCTION %I(wanted jsonpath) RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER
            SET search_path = hub, pg_temp SET plan_cache_mode = force_custom_plan
            AS ''BEGIN RETURN QUERY SELECT id FROM %I
                WHERE org_id = current_org() AND attributes <> ''''{}'''' AND attributes @@ wanted; END''',
            kind || '_matching', kind);
        EXECUTE format('CREATE FUNCTION %I(one text, two text, three text) RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER
            SET search_path = hub, pg_temp SET plan_cache_mode = force_custom_plan
            AS ''BEGIN RETURN QUERY SELECT id FROM %I
                WHERE org_id = current_org() AND search LIKE one AND search LIKE two AND search LIKE three; END''',
            kind || '_holding', kind);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %I(jsonpath), %I(text, text, text) FROM PUBLIC', kind || '_matching', kind || '_holding');
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I(jsonpath), %I(text, text, text) TO hub_app', kind || '_matching', kind || '_holding');
    END LOOP;
END $$;

REVOKE EXECUTE ON FUNCTION attribute_of(json), attributes_of(text), keep_attributes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION attribute_of(json), attributes_of(text) TO hub_app;
