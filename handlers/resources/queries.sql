-- A resource's table and its history. {table} is the resource's kind: agents, knowledge, twins.
-- Row-level security adds the organisation to every WHERE.

-- name: insert
WITH made AS (
    INSERT INTO {table} (org_id, id, version, name, type, status, created_at, updated_at, document, search)
    VALUES (current_org(), $1, 1, $2, $3, $4, $5, $5, $6, $7)
)
INSERT INTO {table}_history (org_id, id, version, from_event, from_time, document)
VALUES (current_org(), $1, 1, $8, $5, $6)

-- name: find
-- Of many: see Context.look_up.
SELECT id, version, updated_at, document FROM {table} WHERE id = ANY ($1)

-- name: hold
-- Whoever emits for a resource holds its row, so the outbox has its events in the order of its versions.
SELECT version, created_at, document FROM {table} WHERE id = $1 FOR UPDATE

-- name: change
WITH changed AS (
    UPDATE {table}
    SET version = $2, name = $3, type = $4, status = $5, updated_at = $6, document = $7, search = $8
    WHERE id = $1
), closed AS (
    UPDATE {table}_history SET to_event = $9, to_time = $6 WHERE id = $1 AND version = $2 - 1
)
INSERT INTO {table}_history (org_id, id, version, from_event, from_time, document)
VALUES (current_org(), $1, $2, $9, $6, $7)

-- name: touch
-- A new version of a resource whose fields are what they were: what belongs to it has changed.
WITH touched AS (
    UPDATE {table} SET version = $2, updated_at = $3, document = $4 WHERE id = $1
), closed AS (
    UPDATE {table}_history SET to_event = $5, to_time = $3 WHERE id = $1 AND version = $2 - 1
)
INSERT INTO {table}_history (org_id, id, version, from_event, from_time, document)
VALUES (current_org(), $1, $2, $5, $3, $4)

-- name: remove
WITH closed AS (
    UPDATE {table}_history SET to_event = $2, to_time = $3 WHERE id = $1 AND to_event IS NULL
)
DELETE FROM {table} WHERE id = $1

-- name: find_past
-- Halves the versions: they are dense, and their events' positions rise with them. One without a position yet is behind every position.
-- LIMIT: as a join, each step could read all versions.
WITH RECURSIVE search(low, high) AS (
    SELECT 0::bigint, max(version) FROM {table}_history WHERE id = $1
    UNION ALL
    SELECT CASE WHEN probe.began <= $2 THEN probe.version ELSE low END,
           CASE WHEN probe.began <= $2 THEN high ELSE probe.version - 1 END
    FROM search
    CROSS JOIN LATERAL (
        SELECT h.version, (SELECT e.position FROM events e WHERE e.event_id = h.from_event) AS began
        FROM {table}_history h WHERE h.id = $1 AND h.version = (low + high + 1) / 2 ORDER BY h.version LIMIT 1
    ) AS probe
    WHERE low < high
)
SELECT past.version, past.from_time, past.document
FROM {table}_history AS past
LEFT JOIN events AS ended ON ended.event_id = past.to_event
WHERE past.id = $1 AND past.version = (SELECT max(low) FROM search) AND (ended.position IS NULL OR ended.position > $2)

-- name: alive
-- Who was there at a position, by age (nobody of then is newer than the newest of then), without a look at what anybody was like: only of whoever is shown the document is found, by
-- halving as above. It was there, so its first version began by then.
SELECT life.id, life.created_at, (
    WITH RECURSIVE search(low, high) AS (
        SELECT 1::bigint, max(version) FROM {table}_history WHERE id = life.id
        UNION ALL
        SELECT CASE WHEN probe.began <= {place} THEN probe.version ELSE low END,
               CASE WHEN probe.began <= {place} THEN high ELSE probe.version - 1 END
        FROM search
        CROSS JOIN LATERAL (
            SELECT h.version, (SELECT e.position FROM events e WHERE e.event_id = h.from_event) AS began
            FROM {table}_history h WHERE h.id = life.id AND h.version = (low + high + 1) / 2 ORDER BY h.version LIMIT 1
        ) AS probe
        WHERE low < high
    )
    SELECT h.document FROM {table}_history h WHERE h.id = life.id AND h.version = (SELECT max(low) FROM search)
) AS document
FROM lives AS life
WHERE life.kind = '{table}' AND life.born <= {place} AND (life.died IS NULL OR life.died > {place})
  AND life.created_at <= (
      SELECT newest FROM populations WHERE kind = '{table}' AND position <= {place} ORDER BY position DESC LIMIT 1)

-- name: population
coalesce((SELECT total FROM populations WHERE kind = '{table}' AND position <= {place} ORDER BY position DESC LIMIT 1), 0)

-- name: past
-- The columns of {table} as of a position, without documents: who was there, found as above, and of each what its version of then says.
-- So it costs what there was then, however many versions there have been. OFFSET 0: else each column would read the document anew.
SELECT held.id, held.version, said.fields ->> 'name' AS name, said.fields ->> 'type' AS type, said.fields ->> 'status' AS status,
    (said.fields ->> 'created_at')::timestamptz AS created_at, held.from_time AS updated_at, attributes_of(held.document) AS attributes
FROM lives AS life
CROSS JOIN LATERAL (
    WITH RECURSIVE search(low, high) AS (
        SELECT 1::bigint, max(version) FROM {table}_history WHERE id = life.id
        UNION ALL
        SELECT CASE WHEN probe.began <= {place} THEN probe.version ELSE low END,
               CASE WHEN probe.began <= {place} THEN high ELSE probe.version - 1 END
        FROM search
        CROSS JOIN LATERAL (
            SELECT h.version, (SELECT e.position FROM events e WHERE e.event_id = h.from_event) AS began
            FROM {table}_history h WHERE h.id = life.id AND h.version = (low + high + 1) / 2 ORDER BY h.version LIMIT 1
        ) AS probe
        WHERE low < high
    )
    SELECT h.id, h.version, h.from_time, h.document FROM {table}_history h
    WHERE h.id = life.id AND h.version = (SELECT max(low) FROM search) ORDER BY h.version LIMIT 1
) AS held
CROSS JOIN LATERAL (SELECT fields_of(held.document) AS fields OFFSET 0) AS said
WHERE life.kind = '{table}' AND life.born <= {place} AND (life.died IS NULL OR life.died > {place})

-- name: scanned
-- The same, by joining the organisation's history with its log: of few versions each, ten times as fast as finding them one by one.
SELECT held.id, held.version, said.fields ->> 'name' AS name, said.fields ->> 'type' AS type, said.fields ->> 'status' AS status,
    (said.fields ->> 'created_at')::timestamptz AS created_at, held.from_time AS updated_at, attributes_of(held.document) AS attributes
FROM {table}_history AS held
JOIN events AS began ON began.event_id = held.from_event
LEFT JOIN events AS ended ON ended.event_id = held.to_event
CROSS JOIN LATERAL (SELECT fields_of(held.document) AS fields OFFSET 0) AS said
WHERE began.position <= {place} AND (ended.position IS NULL OR ended.position > {place})

-- name: is_short
-- Whether there are few versions for each that was there: there are no more than events. One of both ways is taken; the other costs nothing.
SELECT (SELECT position FROM heads) <= 4 * ({population}) AS yes

-- name: shown
-- Those that were found in it, with their documents: PostgreSQL reads one where it is shown.
SELECT found.*, (
    SELECT h.document FROM {table}_history h WHERE h.id = found.id AND h.version = found.version
) AS document
FROM past AS found
