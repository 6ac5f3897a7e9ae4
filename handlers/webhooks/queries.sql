-- Webhooks, each with its subscription. Every statement names the organisation: the role of workers sees all.

-- name: insert
INSERT INTO webhooks (org_id, id, url, description, max_per_second, paced_at, secret, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7, $7)

-- name: find
SELECT w.id, w.version + s.version - 1 AS version, w.url, w.description, w.max_per_second, s.ordered, s.types AS events, s.status, s.status_reason,
       w.failing_since, CASE WHEN w.old_until > clock_timestamp() THEN w.old_until END AS old_until, w.created_at,
       greatest(w.updated_at, s.updated_at) AS updated_at
FROM webhooks w JOIN subscriptions s USING (org_id, id)
WHERE w.org_id = $1 AND w.id = $2

-- name: list
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty.
WITH wanted AS (
    SELECT w.id, w.version + s.version - 1 AS version, w.url, w.description, w.max_per_second, s.ordered, s.types AS events, s.status,
           s.status_reason, w.failing_since, CASE WHEN w.old_until > clock_timestamp() THEN w.old_until END AS old_until, w.created_at,
           greatest(w.updated_at, s.updated_at) AS updated_at
    FROM webhooks w JOIN subscriptions s USING (org_id, id)
    WHERE w.org_id = $1 AND ($4::text IS NULL OR s.status = $4)
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM wanted) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3) AS page ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: change
-- NULL leaves the URL and the description as they are; $6 tells whether the rate is to be another.
UPDATE webhooks
SET url = coalesce($3, url), description = coalesce($4, description), max_per_second = CASE WHEN $6 THEN $5 ELSE max_per_second END,
    version = version + 1, updated_at = $7
WHERE org_id = $1 AND id = $2

-- name: rotate
-- A secret before the last one ends here: at most two are alive.
UPDATE webhooks
SET old_secret = secret, old_until = clock_timestamp() + make_interval(secs => $4), secret = $3, version = version + 1, updated_at = $5
WHERE org_id = $1 AND id = $2

-- name: heal
UPDATE webhooks SET failing_since = NULL WHERE org_id = $1 AND id = $2

-- name: target
-- What a message to it needs. `allowed` is how many events its rate lets out now, of at most a second's worth; at least one is saved up.
SELECT w.url, w.secret, CASE WHEN w.old_until > clock_timestamp() THEN w.old_secret END AS old_secret, w.max_per_second,
       w.failing_since IS NOT NULL AS is_failing, w.failing_since < clock_timestamp() - make_interval(secs => $3) AS has_failed_long,
       floor(least(extract(epoch FROM clock_timestamp() - w.paced_at), greatest(1, 1 / w.max_per_second)) * w.max_per_second)::bigint AS allowed
FROM webhooks w WHERE w.org_id = $1 AND w.id = $2

-- name: pace
-- $3 events are on their way: what was saved up beyond a second's worth is lost, as is no fraction of what was not.
UPDATE webhooks
SET paced_at = greatest(paced_at, clock_timestamp() - make_interval(secs => greatest(1, 1 / max_per_second)))
               + make_interval(secs => $3::bigint / max_per_second)
WHERE org_id = $1 AND id = $2

-- name: note
-- Whether each of many is well: when that changes its version does, since clients see it.
UPDATE webhooks w
SET failing_since = CASE WHEN given.is_well THEN NULL ELSE clock_timestamp() END, version = w.version + 1, updated_at = clock_timestamp()
FROM unnest($1::uuid[], $2::uuid[], $3::boolean[]) AS given (org_id, id, is_well)
WHERE w.org_id = given.org_id AND w.id = given.id AND (w.failing_since IS NULL) <> given.is_well

-- name: deliveries
-- What is outstanding, was given up, or was delivered, newest first, counted up to $6. Each comes in the order of an index, so that a page
-- costs what it shows; what was delivered is found by the attempt that was acknowledged.
WITH wanted AS NOT MATERIALIZED (
    SELECT d.id AS delivery, d.event_id, d.due_at, 'pending' AS status FROM deliveries d
    WHERE d.org_id = $1 AND d.subscription_id = $2 AND ($5::text IS NULL OR $5 = 'pending')
    UNION ALL
    SELECT l.delivery, l.event_id, NULL, 'dead_lettered' FROM dead_letters l
    WHERE l.org_id = $1 AND l.subscription_id = $2 AND ($5::text IS NULL OR $5 = 'dead_lettered')
    UNION ALL
    SELECT a.delivery, a.event_id, NULL, 'delivered' FROM attempts a
    WHERE a.org_id = $1 AND a.subscription_id = $2 AND a.outcome = 'acknowledged' AND ($5::text IS NULL OR $5 = 'delivered')
)
SELECT counted.total, page.delivery, page.event_id, page.due_at, page.status, e.type, e.subject, e.position
FROM (SELECT count(*) AS total FROM (SELECT FROM wanted LIMIT $6::bigint) AS few) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY delivery DESC LIMIT $3 OFFSET $4) AS page ON true
LEFT JOIN events e ON e.org_id = $1 AND e.event_id = page.event_id
ORDER BY page.delivery DESC

-- name: attempts
SELECT delivery, number, started_at, extract(epoch FROM ended_at - started_at)::double precision AS seconds, outcome, status, answer
FROM attempts WHERE org_id = $1 AND subscription_id = $2 AND delivery = ANY ($3::bigint[]) ORDER BY delivery, number

-- name: resend
-- Whatever became of it, it is delivered once more, as a delivery of its own. The subscription's row is held.
WITH known AS (
    SELECT event_id FROM attempts WHERE org_id = $1 AND subscription_id = $2 AND delivery = $3
    UNION
    SELECT event_id FROM deliveries WHERE org_id = $1 AND subscription_id = $2 AND id = $3
)
INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, due_at)
SELECT $1, $2, e.position, e.event_id, e.subject, clock_timestamp()
FROM known JOIN events e ON e.org_id = $1 AND e.event_id = known.event_id
RETURNING id, event_id
