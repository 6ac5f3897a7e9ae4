-- Pages of whatever is listed. Row-level security adds the organisation to every WHERE.

-- name: count
-- What a list's total is, unless its rows are counted already.
(SELECT count(*) FROM (SELECT FROM {table} WHERE {where} LIMIT {counted} + 1) AS counted)

-- name: list
-- One statement, so that the page and the total are of one moment. What stands in braces is made of fixed fragments. The size of a
-- document is known without reading it; a page that is too large is not read, and only so many rows are counted. `columns` are a
-- row's document, and what `item`, the text that is answered, is made of beside it.
WITH {found}page AS MATERIALIZED (
    SELECT {columns} FROM {table} WHERE {where} ORDER BY {order} LIMIT $1 OFFSET $2
), size AS (
    SELECT coalesce(sum(octet_length(document)), 0) AS bytes FROM page
)
SELECT
    CASE WHEN size.bytes <= {most} THEN (SELECT array_agg({item}) FROM page) END AS items,
    size.bytes,
    {total} AS total
FROM size

-- name: window
-- As above, between cursors: one row more than is wanted tells whether there are more. `keys` are what the order compares.
WITH {found}page AS MATERIALIZED (
    SELECT {columns}{keys} FROM {table} WHERE {where}{beyond} ORDER BY {order} LIMIT $1::bigint + 1
), kept AS MATERIALIZED (
    SELECT * FROM page LIMIT $1
), size AS (
    SELECT coalesce(sum(octet_length(document)), 0) AS bytes FROM kept
)
SELECT
    CASE WHEN size.bytes <= {most} THEN (SELECT array_agg({item}) FROM kept) END AS items,
    size.bytes,
    (SELECT count(*) FROM page) AS found,
    {total} AS total{ends}
FROM size
