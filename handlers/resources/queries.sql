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

-- name: remove
WITH closed AS (
    UPDATE {table}_history SET to_event = $2, to_time = $3 WHERE id = $1 AND to_event IS NULL
)
DELETE FROM {table} WHERE id = $1

-- name: list
-- One statement, so that the page and the total are of one moment. What stands in braces is made of fixed fragments. The size of a
-- document is known without reading it; a page over {most} bytes is not read. More than {counted} are not counted.
WITH {found}page AS MATERIALIZED (
    SELECT document FROM {table} WHERE {where} ORDER BY {order} LIMIT $1 OFFSET $2
), size AS (
    SELECT coalesce(sum(octet_length(document)), 0) AS bytes FROM page
)
SELECT
    CASE WHEN size.bytes <= {most} THEN (SELECT array_agg(page.document) FROM page) END AS items,
    size.bytes,
    (SELECT count(*) FROM (SELECT FROM {table} WHERE {where} LIMIT {counted} + 1) AS counted) AS total
FROM size

-- name: window
-- As above, between cursors: one row more than is wanted tells whether there are more. {keys} are what the order compares.
WITH {found}page AS MATERIALIZED (
    SELECT document{keys} FROM {table} WHERE {where}{beyond} ORDER BY {order} LIMIT $1::bigint + 1
), kept AS MATERIALIZED (
    SELECT * FROM page LIMIT $1
), size AS (
    SELECT coalesce(sum(octet_length(document)), 0) AS bytes FROM kept
)
SELECT
    CASE WHEN size.bytes <= {most} THEN (SELECT array_agg(kept.document) FROM kept) END AS items,
    size.bytes,
    (SELECT count(*) FROM page) AS found,
    (SELECT count(*) FROM (SELECT FROM {table} WHERE {where} LIMIT {counted} + 1) AS counted) AS total{ends}
FROM size
