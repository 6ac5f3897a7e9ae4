-- Roles and schema, before the first revision; safe to repeat. Needs CREATEROLE and CREATE on the database.
-- The login gets the roles without inheriting them: by itself it may touch nothing.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['hub_owner', 'hub_app', 'hub_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another node was quicker
            END;
        END IF;
        IF NOT EXISTS (
            SELECT FROM pg_auth_members m WHERE m.roleid = name::regrole AND m.member = current_user::regrole AND m.set_option
        ) AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', name, current_user);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'hub') THEN
        CREATE SCHEMA hub AUTHORIZATION hub_owner;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
        CREATE EXTENSION pg_trgm WITH SCHEMA public;
    END IF;
    -- Only a superuser may make this one, or who a vendor lets; without it the hub finds by words only, and `doctor` says so.
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')
        AND EXISTS (SELECT FROM pg_available_extensions e WHERE e.name = 'vector') THEN
        BEGIN
            CREATE EXTENSION vector WITH SCHEMA public;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END IF;
END $$;
