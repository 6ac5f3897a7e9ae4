-- What stands between the log and who consumes it. Every statement names the organisation: the role of workers sees all.
-- Time is PostgreSQL's, and the statement's own moment: clock_timestamp().
-- Rows are named by arrays, never by a join with a list: of a queue the planner has no figures that hold, takes it for a single row,
-- and compares each with each. For the same reason events are looked up one by one, in order, which only their primary key can do: as a
-- join, or by an equality, a plan that was made while the log was short may read all of another index for each. A lease is known to its holder alone, so id and lease need not be compared as pairs.

-- name: hold
-- The row's lock makes one at a time of those who fill, lease, redrive or delete; not of those who acknowledge. Its version is
-- the newest also where it was waited for; `head`, `has_due` and `has_exhausted` may be a moment old, and are looked at again next time.
-- What follows in this transaction is planned for a log that is long, also where it is short when that is planned: plans are kept.
SELECT s.status, s.cursor, s.type_patterns, s.subject_patterns, s.ordered, s.max_in_flight, s.ack_seconds, s.max_deliveries, s.delays,
       h.position AS head, set_config('enable_seqscan', 'off', true),
       EXISTS (SELECT 1 FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id
               AND d.due_at <= clock_timestamp() AND d.attempt >= s.max_deliveries) AS has_exhausted,
       EXISTS (SELECT 1 FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id
               AND d.due_at <= clock_timestamp()) AS has_due,
       EXISTS (SELECT 1 FROM replays r WHERE r.org_id = s.org_id AND r.target_id = s.id AND r.status = 'running') AS has_replays
FROM subscriptions s JOIN heads h ON h.org_id = s.org_id
WHERE s.org_id = $1 AND s.id = $2
FOR NO KEY UPDATE OF s

-- name: fill
-- $3 cursor, $4 and $5 patterns, $6 most rows outstanding, $7 most positions looked at. Beyond the head of this
-- statement's own snapshot nothing is looked at, and positions are committed in their order: the cursor passes nothing by.
-- What says something about the subscription itself is not for it: it would make more of the same.
WITH bound AS (
    SELECT least(h.position, $3::bigint + $7::bigint) AS upto,
           $6::bigint - (SELECT count(*) FROM deliveries d WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.replay_id IS NULL) AS room
    FROM heads h WHERE h.org_id = $1
), matched AS (
    SELECT e.position, e.event_id, e.subject
    FROM events e
    WHERE e.org_id = $1 AND e.position > $3 AND e.position <= (SELECT upto FROM bound)
      AND e.type LIKE ANY ($4::text[]) AND ($5::text[] = '{}' OR e.subject LIKE ANY ($5::text[]))
      AND e.subject <> 'subscriptions/' || $2::uuid
    ORDER BY e.position
    LIMIT greatest((SELECT room FROM bound), 0)
), placed AS (
    INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, due_at)
    SELECT $1::uuid, $2::uuid, position, event_id, subject, clock_timestamp() FROM matched ORDER BY position
), counted AS (
    SELECT count(*) AS placed, max(position) AS last FROM matched
)
UPDATE subscriptions s
SET cursor = CASE WHEN counted.placed < bound.room THEN bound.upto ELSE counted.last END
FROM bound, counted
WHERE s.org_id = $1 AND s.id = $2 AND bound.room > 0 AND bound.upto > $3
RETURNING s.cursor, counted.placed

-- name: take
-- `fill` and `lease` in one, where no order keeps anything back: what the log has behind the cursor $3 goes straight to who asked. $4 and
-- $5 patterns, $6 most rows outstanding, $7 most positions looked at, $8 how many, $9 most in flight, $10 seconds. Where the cursor moved
-- there is a row, of nulls where nothing matched.
WITH held AS (
    SELECT count(*) FILTER (WHERE d.replay_id IS NULL) AS live,
           count(*) FILTER (WHERE d.lease IS NOT NULL AND d.due_at > clock_timestamp()) AS in_flight
    FROM deliveries d WHERE d.org_id = $1 AND d.subscription_id = $2
), bound AS (
    SELECT least(h.position, $3::bigint + $7::bigint) AS upto,
           least($8::bigint, $9::bigint - held.in_flight, $6::bigint - held.live) AS room
    FROM heads h, held WHERE h.org_id = $1
), matched AS (
    SELECT e.position, e.event_id, e.subject
    FROM events e
    WHERE e.org_id = $1 AND e.position > $3 AND e.position <= (SELECT upto FROM bound)
      AND e.type LIKE ANY ($4::text[]) AND ($5::text[] = '{}' OR e.subject LIKE ANY ($5::text[]))
      AND e.subject <> 'subscriptions/' || $2::uuid
    ORDER BY e.position
    LIMIT greatest((SELECT room FROM bound), 0)
), placed AS (
    INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, attempt, lease, leased_at, due_at)
    SELECT $1::uuid, $2::uuid, position, event_id, subject, 1, gen_random_uuid(), clock_timestamp(),
           clock_timestamp() + make_interval(secs => $10)
    FROM matched ORDER BY position
    RETURNING id, lease, attempt, due_at, position, event_id, subject
), counted AS (
    SELECT count(*) AS placed, max(position) AS last FROM matched
), moved AS (
    UPDATE subscriptions s
    SET cursor = CASE WHEN counted.placed < bound.room THEN bound.upto ELSE counted.last END
    FROM bound, counted
    WHERE s.org_id = $1 AND s.id = $2 AND bound.room > 0 AND bound.upto > $3
    RETURNING s.cursor
)
SELECT moved.cursor, taken.*
FROM moved LEFT JOIN (
    SELECT placed.id, placed.lease, placed.attempt, placed.due_at AS lease_until, placed.position, placed.event_id, placed.subject,
           false AS replayed, false AS expired, e.type, e.time, e.envelope
    FROM placed
    CROSS JOIN LATERAL (
        SELECT type, time, envelope FROM events
        WHERE org_id = $1 AND position BETWEEN placed.position AND placed.position ORDER BY position LIMIT 1
    ) AS e
) AS taken ON true
ORDER BY taken.id

-- name: lease
-- $3 how many, $4 most in flight, $5 most attempts, $6 seconds, $7 ordered, $8 live events only. What was leased before and came back
-- unanswered has expired; live events go before replayed ones. Ordered: of a subject only the oldest outstanding one, so that the next waits for its answer.
WITH due AS (
    SELECT d.id, d.lease, d.attempt, d.leased_at, d.due_at, d.event_id
    FROM deliveries d
    WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.due_at <= clock_timestamp() AND d.attempt < $5
      AND (NOT $8::boolean OR d.replay_id IS NULL)
      AND (NOT $7::boolean OR d.id IN (
          SELECT min(e.id) FROM deliveries e
          WHERE e.org_id = $1 AND e.subscription_id = $2 GROUP BY e.subject, e.replay_id))
    ORDER BY d.replay_id IS NOT NULL, d.due_at, d.id
    LIMIT (SELECT greatest(0, least($3::bigint, $4::bigint - count(*))) FROM deliveries o
           WHERE o.org_id = $1 AND o.subscription_id = $2 AND o.lease IS NOT NULL AND o.due_at > clock_timestamp())
    FOR UPDATE OF d SKIP LOCKED
), expired AS (
    INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, is_over)
    SELECT $1, $2, id, attempt, event_id, leased_at, due_at, 'expired', false FROM due WHERE lease IS NOT NULL
    ON CONFLICT DO NOTHING
), leased AS (
    UPDATE deliveries d
    SET attempt = d.attempt + 1, lease = gen_random_uuid(), leased_at = clock_timestamp(),
        due_at = clock_timestamp() + make_interval(secs => $6)
    WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.id = ANY (ARRAY(SELECT id FROM due))
    RETURNING d.id, d.lease, d.attempt, d.due_at, d.position, d.event_id, d.subject, d.replay_id
)
SELECT leased.id, leased.lease, leased.attempt, leased.due_at AS lease_until, leased.position, leased.event_id, leased.subject,
       leased.replay_id IS NOT NULL AS replayed,
       leased.id = ANY (ARRAY(SELECT id FROM due WHERE lease IS NOT NULL)) AS expired, e.type, e.time, e.envelope
FROM leased
CROSS JOIN LATERAL (
    SELECT type, time, envelope FROM events WHERE org_id = $1 AND position BETWEEN leased.position AND leased.position ORDER BY position LIMIT 1
) AS e
ORDER BY leased.id

-- name: give_back
-- As if it had not been leased: what no consumer has seen.
UPDATE deliveries d SET attempt = d.attempt - 1, lease = NULL, due_at = clock_timestamp()
WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.id = ANY ($3::bigint[]) AND d.lease = ANY ($4::uuid[])

-- name: next_due
-- In how many seconds there may be something to lease; NULL where only the log's next event can bring it. A window that is full takes
-- nothing more of the log. Besides it, how the subscription stands.
SELECT CASE WHEN s.status <> 'active' THEN NULL
            WHEN s.cursor < h.position AND (
                SELECT count(*) FROM (
                    SELECT FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id AND d.replay_id IS NULL LIMIT $3::bigint
                ) AS taken) < $3::bigint THEN 0
            ELSE least(
                (SELECT extract(epoch FROM min(d.due_at) - clock_timestamp())
                 FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id),
                (SELECT extract(epoch FROM min(r.paced_at + make_interval(secs => coalesce(1 / r.rate, 0))) - clock_timestamp())
                 FROM replays r WHERE r.org_id = s.org_id AND r.target_id = s.id AND r.status = 'running'))
       END::double precision AS seconds, s.delivery, s.status, s.status_reason, s.ack_seconds
FROM subscriptions s JOIN heads h ON h.org_id = s.org_id
WHERE s.org_id = $1 AND s.id = $2

-- name: ready
-- The push subscriptions of all organisations that have something to do now, by the same rule.
SELECT s.org_id, s.id
FROM subscriptions s JOIN heads h ON h.org_id = s.org_id
WHERE s.delivery = 'push' AND s.status = 'active' AND (
    EXISTS (SELECT 1 FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id AND d.due_at <= clock_timestamp())
    OR s.cursor < h.position AND (
        SELECT count(*) FROM (
            SELECT FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id AND d.replay_id IS NULL LIMIT $1::bigint
        ) AS taken) < $1::bigint
    OR EXISTS (SELECT 1 FROM replays r WHERE r.org_id = s.org_id AND r.target_id = s.id AND r.status = 'running'
               AND r.paced_at + make_interval(secs => coalesce(1 / r.rate, 0)) <= clock_timestamp()))

-- name: ack
-- Fenced by the lease: of who was too late, and another has it by now, nothing is deleted. `answers` is NULL where no attempt is kept.
-- The attempts before it, which only what came again has, belong to nothing from now on.
WITH done AS (
    DELETE FROM deliveries d
    WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.id = ANY ($3::bigint[]) AND d.lease = ANY ($4::uuid[])
    RETURNING d.id, d.lease, d.attempt, d.event_id, d.leased_at
), over AS (
    UPDATE attempts a SET is_over = true
    WHERE a.org_id = $1 AND a.subscription_id = $2 AND a.delivery = ANY (ARRAY(SELECT id FROM done WHERE attempt > 1))
), kept AS (
    INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, status, answer, is_over)
    SELECT $1, $2, id, attempt, event_id, leased_at, clock_timestamp(), 'acknowledged', $6::integer, $7::text, true FROM done WHERE $5::boolean
    ON CONFLICT DO NOTHING
)
SELECT id, lease FROM done

-- name: refuse
-- What was not wanted comes again after its delay, which is $5 or the subscription's, spread by a fifth to either side so that
-- what failed together does not come back together. The lease that is returned is read as the row was before.
WITH refused AS (
    UPDATE deliveries d
    SET lease = NULL, due_at = clock_timestamp() + make_interval(secs =>
        coalesce($5::double precision, s.delays[least(d.attempt, cardinality(s.delays))] * (0.8 + 0.4 * random())))
    FROM subscriptions s
    WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.id = ANY ($3::bigint[]) AND d.lease = ANY ($4::uuid[])
      AND s.org_id = $1 AND s.id = $2
    RETURNING d.id, d.attempt, d.event_id, d.leased_at, d.attempt >= s.max_deliveries AS is_last,
        (SELECT b.lease FROM deliveries b WHERE b.org_id = $1 AND b.subscription_id = $2 AND b.id = d.id) AS lease
), kept AS (
    INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, status, answer, is_over)
    SELECT $1, $2, id, attempt, event_id, leased_at, clock_timestamp(), 'refused', $6::integer, $7::text, false FROM refused
    ON CONFLICT DO NOTHING
)
SELECT id, lease, is_last FROM refused

-- name: extend
UPDATE deliveries d SET due_at = clock_timestamp() + make_interval(secs => $5)
WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.id = ANY ($3::bigint[]) AND d.lease = ANY ($4::uuid[])
RETURNING d.id, d.lease, d.due_at AS lease_until

-- name: exhausted
-- What nobody answered when it was handed out for the last time.
SELECT d.id FROM deliveries d
WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.due_at <= clock_timestamp() AND d.attempt >= $3
ORDER BY d.due_at LIMIT $4

-- name: exhausted_anywhere
-- The same of all organisations' subscriptions, whatever their status.
SELECT s.org_id, s.id FROM subscriptions s
WHERE EXISTS (SELECT FROM deliveries d WHERE d.org_id = s.org_id AND d.subscription_id = s.id
              AND d.due_at <= clock_timestamp() AND d.attempt >= s.max_deliveries)

-- name: bury
-- $3 ids of deliveries, $4 as many new ids for the dead letters, $5 the reason.
WITH gone AS (
    DELETE FROM deliveries d
    WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.id = ANY ($3::bigint[])
    RETURNING ($4::uuid[])[array_position($3::bigint[], d.id)] AS id, d.id AS delivery, d.position, d.event_id, d.subject, d.replay_id, d.attempt, d.lease, d.leased_at, d.due_at
), expired AS (
    INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, is_over)
    SELECT $1, $2, delivery, attempt, event_id, leased_at, due_at, 'expired', false FROM gone WHERE lease IS NOT NULL
    ON CONFLICT DO NOTHING
)
INSERT INTO dead_letters (org_id, id, subscription_id, delivery, position, event_id, type, subject, replay_id, attempts, reason, died_at)
SELECT $1, gone.id, $2, gone.delivery, gone.position, gone.event_id, e.type, gone.subject, gone.replay_id, gone.attempt, $5, clock_timestamp()
FROM gone
CROSS JOIN LATERAL (
    SELECT type FROM events WHERE org_id = $1 AND position BETWEEN gone.position AND gone.position ORDER BY position LIMIT 1
) AS e
ORDER BY gone.delivery
RETURNING id, position, event_id, type, subject, attempts, reason

-- name: running_replays
-- Locked, in one order: a pause or a cancel waits for this transaction, and then holds.
SELECT id, cursor, upto, type_patterns, subject_patterns, rate,
       least(extract(epoch FROM clock_timestamp() - paced_at), greatest(1, coalesce(1 / rate, 0)))::double precision AS paced_seconds
FROM replays WHERE org_id = $1 AND target_id = $2 AND status = 'running' ORDER BY id FOR NO KEY UPDATE

-- name: fill_replay
-- As `fill`, from a replay's own cursor up to its end, and at most $10 rows, its pace.
WITH bound AS (
    SELECT least($5::bigint, $4::bigint + $9::bigint) AS upto,
           least($10::bigint, $8::bigint - (SELECT count(*) FROM deliveries d WHERE d.org_id = $1 AND d.subscription_id = $2 AND d.replay_id = $3)) AS room
), matched AS (
    SELECT e.position, e.event_id, e.subject
    FROM events e
    WHERE e.org_id = $1 AND e.position > $4 AND e.position <= (SELECT upto FROM bound)
      AND e.type LIKE ANY ($6::text[]) AND ($7::text[] = '{}' OR e.subject LIKE ANY ($7::text[]))
      AND e.subject <> 'subscriptions/' || $2::uuid
    ORDER BY e.position
    LIMIT greatest((SELECT room FROM bound), 0)
), placed AS (
    INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, replay_id, due_at)
    SELECT $1::uuid, $2::uuid, position, event_id, subject, $3::uuid, clock_timestamp() FROM matched ORDER BY position
), counted AS (
    SELECT count(*) AS placed, max(position) AS last FROM matched
), next AS (
    SELECT counted.placed, CASE WHEN counted.placed < bound.room THEN bound.upto ELSE counted.last END AS cursor
    FROM bound, counted WHERE bound.room > 0
)
UPDATE replays r
SET cursor = next.cursor, placed = r.placed + next.placed, updated_at = clock_timestamp(),
    -- What was not used of the pace is kept for a second, so that it is exact however often this is asked, and no burst follows.
    paced_at = greatest(r.paced_at, clock_timestamp() - make_interval(secs => greatest(1, coalesce(1 / r.rate, 0))))
        + make_interval(secs => coalesce(next.placed / r.rate, 0)),
    status = CASE WHEN next.cursor >= r.upto THEN 'done' ELSE r.status END
FROM next
WHERE r.org_id = $1 AND r.id = $3
RETURNING r.cursor, next.placed

-- name: take_replay
-- As `take`, from a replay's own cursor up to its end, and at most $10 rows, its pace; $11 how many, $12 most in flight, $13 seconds.
WITH held AS (
    SELECT count(*) FILTER (WHERE d.replay_id = $3) AS replayed,
           count(*) FILTER (WHERE d.lease IS NOT NULL AND d.due_at > clock_timestamp()) AS in_flight
    FROM deliveries d WHERE d.org_id = $1 AND d.subscription_id = $2
), bound AS (
    SELECT least($5::bigint, $4::bigint + $9::bigint) AS upto,
           least($10::bigint, $11::bigint, $12::bigint - held.in_flight, $8::bigint - held.replayed) AS room
    FROM held
), matched AS (
    SELECT e.position, e.event_id, e.subject
    FROM events e
    WHERE e.org_id = $1 AND e.position > $4 AND e.position <= (SELECT upto FROM bound)
      AND e.type LIKE ANY ($6::text[]) AND ($7::text[] = '{}' OR e.subject LIKE ANY ($7::text[]))
      AND e.subject <> 'subscriptions/' || $2::uuid
    ORDER BY e.position
    LIMIT greatest((SELECT room FROM bound), 0)
), placed AS (
    INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, replay_id, attempt, lease, leased_at, due_at)
    SELECT $1::uuid, $2::uuid, position, event_id, subject, $3::uuid, 1, gen_random_uuid(), clock_timestamp(),
           clock_timestamp() + make_interval(secs => $13)
    FROM matched ORDER BY position
    RETURNING id, lease, attempt, due_at, position, event_id, subject
), counted AS (
    SELECT count(*) AS placed, max(position) AS last FROM matched
), next AS (
    SELECT counted.placed, CASE WHEN counted.placed < bound.room THEN bound.upto ELSE counted.last END AS cursor
    FROM bound, counted WHERE bound.room > 0
), moved AS (
    UPDATE replays r
    SET cursor = next.cursor, placed = r.placed + next.placed, updated_at = clock_timestamp(),
        paced_at = greatest(r.paced_at, clock_timestamp() - make_interval(secs => greatest(1, coalesce(1 / r.rate, 0))))
            + make_interval(secs => coalesce(next.placed / r.rate, 0)),
        status = CASE WHEN next.cursor >= r.upto THEN 'done' ELSE r.status END
    FROM next
    WHERE r.org_id = $1 AND r.id = $3
    RETURNING r.cursor
)
SELECT moved.cursor, taken.*
FROM moved LEFT JOIN (
    SELECT placed.id, placed.lease, placed.attempt, placed.due_at AS lease_until, placed.position, placed.event_id, placed.subject,
           true AS replayed, false AS expired, e.type, e.time, e.envelope
    FROM placed
    CROSS JOIN LATERAL (
        SELECT type, time, envelope FROM events
        WHERE org_id = $1 AND position BETWEEN placed.position AND placed.position ORDER BY position LIMIT 1
    ) AS e
) AS taken ON true
ORDER BY taken.id
