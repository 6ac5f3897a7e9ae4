-- What the relay says to PostgreSQL, as hub_system, on the session that holds the advisory locks of its shards.

-- name: lock
-- Session-level: the lock is this connection's and ends with it. A statement of its own, so that the snapshot of the
-- first move is younger than the lock.
SELECT shard FROM unnest($2::int[]) AS shard WHERE pg_try_advisory_lock($1, shard)

-- name: move
-- Committed rows leave the outbox, get the next positions of their organisation, and stand in the log: all or nothing.
-- By an array: a join of the outbox with itself compares each with each where the outbox was empty when autovacuum looked at it.
-- Heads are read by UPDATE, so a stale snapshot cannot give a position twice; the primary key of events has the last word.
WITH taken AS (
    DELETE FROM outbox
    WHERE seq = ANY (ARRAY(SELECT seq FROM outbox WHERE shard = ANY ($1::smallint[]) ORDER BY seq LIMIT $2))
    RETURNING seq, org_id, event_id, type, subject, channel, time, envelope, short
), counted AS (
    SELECT org_id, count(*) AS events FROM taken GROUP BY org_id
), head AS (
    UPDATE heads
    SET position = heads.position + counted.events, recorded_at = greatest(heads.recorded_at, clock_timestamp())
    FROM counted
    WHERE heads.org_id = counted.org_id
    RETURNING heads.org_id, heads.position - counted.events AS before, heads.recorded_at
), moved AS (
    INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope, short)
    SELECT org_id, head.before + row_number() OVER (PARTITION BY org_id ORDER BY seq),
           event_id, type, subject, channel, time, head.recorded_at, envelope, short
    FROM taken JOIN head USING (org_id)
    RETURNING org_id, position, channel, coalesce(short, envelope) AS envelope
)
SELECT moved.org_id, moved.position, moved.channel, moved.envelope, log_epoch.epoch
FROM moved, log_epoch
ORDER BY moved.org_id, moved.position

-- name: unpublished
SELECT org_id, published, position, (SELECT epoch FROM log_epoch) AS epoch
FROM heads WHERE published < position AND shard = ANY ($1::smallint[])

-- name: pages
SELECT position, channel, coalesce(short, envelope) AS envelope
FROM events WHERE org_id = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4

-- name: mark_published
UPDATE heads SET published = upto
FROM unnest($1::uuid[], $2::bigint[]) AS done (org_id, upto)
WHERE heads.org_id = done.org_id AND heads.published < upto

-- name: waiting
-- The oldest event that waits in each shard of others: the same three looks running means that the holder does not work.
SELECT shard, min(seq) AS oldest FROM outbox WHERE shard <> ALL ($1::smallint[]) GROUP BY shard

-- name: end_holder
-- Said by the login itself: hub_system may not end a session of the login.
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
