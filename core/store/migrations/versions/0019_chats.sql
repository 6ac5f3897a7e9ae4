-- Revision 0019: who may not speak in a chat, or not be there.
-- Runs as hub_owner with search_path = hub, public.

-- A row stays for a while when it has ended or was lifted, so that nodes see it; then the next sanction of its organisation removes it.
CREATE TABLE chat_sanctions (
    org_id      uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id          uuid NOT NULL,
    chat        text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('mute', 'ban')),
    reason      text NOT NULL,
    by_subject  text NOT NULL,
    created_at  timestamptz NOT NULL,
    ends_at     timestamptz,                                       -- NULL: when it is lifted
    lifted_at   timestamptz,                                       -- or replaced
    touched_at  timestamptz NOT NULL DEFAULT clock_timestamp(),    -- of the last write, before its commit
    PRIMARY KEY (org_id, id)
);
CREATE INDEX chat_sanctions_by_touch ON chat_sanctions (touched_at);
CREATE INDEX chat_sanctions_by_chat ON chat_sanctions (org_id, chat, id);
ALTER TABLE chat_sanctions ENABLE ROW LEVEL SECURITY;
ALTER TABLE chat_sanctions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organisation ON chat_sanctions TO hub_app USING (org_id = current_org());
CREATE POLICY commands ON chat_sanctions TO hub_owner USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON chat_sanctions TO hub_app;

-- What a node keeps in memory, of all organisations: all that holds (NULL), or what was written since. One row stands alone where there is none.
CREATE FUNCTION chat_sanctions_since(moment timestamptz)
    RETURNS TABLE (asked_at timestamptz, org_id uuid, id uuid, chat text, subject text, kind text, ends_at timestamptz, is_lifted boolean)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = hub, pg_temp
BEGIN ATOMIC
    SELECT asked.at, s.org_id, s.id, s.chat, s.subject, s.kind, s.ends_at, s.lifted_at IS NOT NULL
    FROM (SELECT clock_timestamp() AS at) AS asked
    LEFT JOIN chat_sanctions s ON s.touched_at >= coalesce(moment, '-infinity')
        AND (moment IS NOT NULL OR s.lifted_at IS NULL);
END;
REVOKE EXECUTE ON FUNCTION chat_sanctions_since(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat_sanctions_since(timestamptz) TO hub_app;
