-- Appending events of applications. Row-level security adds the organisation to every WHERE.

-- name: advance
-- Holds the subjects' rows until the commit, each with its new version. In the order of their names, so that two batches
-- never wait for each other; who waited for a row goes on from the version that it has then. The other rows are the types
-- whose data is checked.
WITH advanced AS (
    INSERT INTO event_subjects AS held (org_id, subject, version)
    SELECT current_org(), wanted.subject, wanted.events
    FROM unnest($1::text[], $2::bigint[]) AS wanted (subject, events)
    ORDER BY wanted.subject COLLATE "C"
    ON CONFLICT (org_id, subject) DO UPDATE SET version = held.version + excluded.version
    RETURNING subject, version
)
SELECT subject, version, NULL::text AS type, NULL::uuid AS revision FROM advanced
UNION ALL
SELECT NULL, NULL, name, revision FROM event_types WHERE name = ANY ($3::text[]) AND schema IS NOT NULL
