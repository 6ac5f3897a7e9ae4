-- The last statements of a write: events, audit and the stored result, in one round trip.

-- name: finish
-- Of one write, or of several in one transaction: events, audit rows, and results under idempotency keys, as columns.
-- The insert into the outbox comes last in the transaction, so for one resource its order is commit order.
WITH audited AS (
    INSERT INTO audit (org_id, id, time, caller, operation, target, request_id, outcome)
    SELECT current_org(), run.* FROM unnest($8::uuid[], $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
        AS run (id, time, caller, operation, target, request_id, outcome)
    ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, target = excluded.target
), kept AS (
    INSERT INTO idempotency (org_id, operation, key, input_hash, result, event_id, expires_at)
    SELECT current_org(), first.*, clock_timestamp() + interval '24 hours'
    FROM unnest($15::text[], $16::text[], $17::bytea[], $18::text[], $19::uuid[])
        AS first (operation, key, input_hash, result, event_id)
    ON CONFLICT (org_id, operation, key) DO UPDATE
    SET input_hash = excluded.input_hash, result = excluded.result, event_id = excluded.event_id,
        lease_until = NULL, expires_at = excluded.expires_at
)
INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope, short)
SELECT current_org(), event.id, event.type, event.subject, event.channel, event.time, event.envelope, event.short
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[])
    WITH ORDINALITY AS event (id, type, subject, channel, time, envelope, short, place)
ORDER BY event.place

-- name: lock_key
SELECT pg_try_advisory_xact_lock(hashtextextended(current_org()::text || $1 || ' ' || $2, 7))

-- name: stored
-- A later statement than the lock, so that it sees what the last holder of the lock committed.
SELECT input_hash, result, event_id, lease_until > clock_timestamp() AS leased
FROM idempotency
WHERE operation = $1 AND key = $2 AND expires_at > clock_timestamp()

-- name: claim
-- The end of a lease is its fencing token: another claim comes after it, so has a later one.
INSERT INTO idempotency (org_id, operation, key, input_hash, lease_until, expires_at)
VALUES (current_org(), $1, $2, $3, clock_timestamp() + make_interval(secs => $4), clock_timestamp() + interval '24 hours')
ON CONFLICT (org_id, operation, key) DO UPDATE
SET input_hash = excluded.input_hash, result = NULL, event_id = NULL,
    lease_until = greatest(excluded.lease_until, idempotency.lease_until + interval '1 microsecond'), expires_at = excluded.expires_at
-- The run before may have held the row until this moment, to put its result there.
WHERE idempotency.result IS NULL OR idempotency.expires_at <= clock_timestamp()
RETURNING lease_until

-- name: hold_claim
SELECT true FROM idempotency WHERE operation = $1 AND key = $2 AND lease_until = $3 AND result IS NULL FOR UPDATE

-- name: resolve_claim
UPDATE idempotency SET result = $3, event_id = $4, lease_until = NULL, expires_at = clock_timestamp() + interval '24 hours'
WHERE operation = $1 AND key = $2

-- name: drop_claim
DELETE FROM idempotency WHERE operation = $1 AND key = $2 AND lease_until = $3 AND result IS NULL
