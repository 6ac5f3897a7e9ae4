-- Dead letters. Every statement names the organisation: the role of workers sees all.

-- name: list
-- Newest first; $5 a pattern of types, $6 a subject, $7 and $8 from when to when, each NULL for any. At most $9 are counted.
WITH wanted AS (
    SELECT * FROM dead_letters
    WHERE org_id = $1 AND subscription_id = $2 AND ($5::text IS NULL OR type LIKE $5) AND ($6::text IS NULL OR subject = $6)
      AND ($7::timestamptz IS NULL OR died_at >= $7) AND ($8::timestamptz IS NULL OR died_at < $8)
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM (SELECT FROM wanted LIMIT $9) AS first_of_them) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY died_at DESC, id DESC LIMIT $3 OFFSET $4) AS page ON true
ORDER BY page.died_at DESC, page.id DESC

-- name: find
SELECT l.id, l.position, l.event_id, l.type, l.subject, l.replay_id, l.attempts, l.reason, l.died_at, l.delivery, e.envelope
FROM dead_letters l JOIN events e ON e.org_id = l.org_id AND e.position = l.position
WHERE l.org_id = $1 AND l.subscription_id = $2 AND l.id = $3

-- name: attempts
SELECT number, started_at, ended_at, outcome, status, answer
FROM attempts WHERE org_id = $1 AND subscription_id = $2 AND delivery = $3 ORDER BY number

-- name: outstanding
SELECT count(*) FROM (SELECT FROM deliveries WHERE org_id = $1 AND subscription_id = $2 LIMIT $3) AS first_of_them

-- name: redrive
-- Oldest first, $3 ids or NULL for those that the filter means, at most $4. The subscription's row is held. What is redriven is a new
-- delivery that begins to count its attempts anew, behind those that are outstanding; its old attempts end with the dead letter.
WITH chosen AS (
    SELECT id FROM dead_letters
    WHERE org_id = $1 AND subscription_id = $2 AND ($3::uuid[] IS NULL OR id = ANY ($3))
      AND ($5::text IS NULL OR type LIKE $5) AND ($6::text IS NULL OR subject = $6)
      AND ($7::timestamptz IS NULL OR died_at >= $7) AND ($8::timestamptz IS NULL OR died_at < $8)
    ORDER BY died_at, id LIMIT $4
    FOR UPDATE
), gone AS (
    DELETE FROM dead_letters l USING chosen WHERE l.org_id = $1 AND l.id = chosen.id RETURNING l.*
), forgotten AS (
    DELETE FROM attempts a USING gone WHERE a.org_id = $1 AND a.subscription_id = $2 AND a.delivery = gone.delivery
), again AS (
    INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, replay_id, due_at)
    SELECT $1, $2, position, event_id, subject, replay_id, clock_timestamp() FROM gone ORDER BY position
)
SELECT id FROM gone

-- name: purge
WITH chosen AS (
    SELECT id FROM dead_letters
    WHERE org_id = $1 AND subscription_id = $2 AND ($3::uuid[] IS NULL OR id = ANY ($3))
      AND ($5::text IS NULL OR type LIKE $5) AND ($6::text IS NULL OR subject = $6)
      AND ($7::timestamptz IS NULL OR died_at >= $7) AND ($8::timestamptz IS NULL OR died_at < $8)
    ORDER BY died_at, id LIMIT $4
    FOR UPDATE
), gone AS (
    DELETE FROM dead_letters l USING chosen WHERE l.org_id = $1 AND l.id = chosen.id RETURNING l.id, l.delivery
), forgotten AS (
    DELETE FROM attempts a USING gone WHERE a.org_id = $1 AND a.subscription_id = $2 AND a.delivery = gone.delivery
)
SELECT id FROM gone
