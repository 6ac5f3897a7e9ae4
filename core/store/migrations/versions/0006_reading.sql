-- Revision 0006: what the log and the audit are filtered by.
-- Runs as hub_owner with search_path = hub, public.

-- Texts by code points: so are the beginnings of types that a pattern has, a range of the index.
CREATE INDEX events_by_type ON events (org_id, type COLLATE "C", position);
CREATE INDEX events_by_subject ON events (org_id, subject COLLATE "C", position);
-- By the event's own time, which is nearly, but not quite, in the order of positions.
CREATE INDEX events_by_time ON events (org_id, time, position);

-- The id tells rows of one moment apart; the index before had the time alone.
CREATE INDEX audit_by_age ON audit (org_id, time DESC, id DESC);
DROP INDEX audit_by_time;
CREATE INDEX audit_by_caller ON audit (org_id, caller COLLATE "C", time, id);
CREATE INDEX audit_by_operation ON audit (org_id, operation COLLATE "C", time, id);
CREATE INDEX audit_by_target ON audit (org_id, target COLLATE "C", time, id) WHERE target IS NOT NULL;

-- A document as JSON that PostgreSQL takes apart; as in attributes_of, \u0000 is left out, of which it has none.
CREATE FUNCTION fields_of(document text) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN strpos(document, '\u0000') = 0 THEN document::json
                ELSE regexp_replace(document, '(\\\\)|\\u0000', '\1', 'g')::json END;
REVOKE EXECUTE ON FUNCTION fields_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fields_of(text) TO hub_app;
