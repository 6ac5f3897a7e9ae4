-- The answers to many deliveries at once, of any organisations' subscriptions, as hub_system.

-- name: settle
-- Fenced by the leases. What was refused for the last time is due at once: whoever leases next finds it and makes it a dead letter.
-- Delays are the subscription's, spread by a fifth to either side, or at least `pause`.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::boolean[], $6::double precision[], $7::integer[],
                         $8::text[], $9::double precision[])
        AS given (org_id, subscription_id, id, lease, is_acknowledged, seconds, status, answer, pause)
), acknowledged AS (
    DELETE FROM deliveries d USING given
    WHERE given.is_acknowledged
      AND d.org_id = given.org_id AND d.subscription_id = given.subscription_id AND d.id = given.id AND d.lease = given.lease
    RETURNING d.org_id, d.subscription_id, d.id, d.attempt, d.event_id, given.seconds, given.status, given.answer
), refused AS (
    UPDATE deliveries d
    SET lease = NULL, due_at = clock_timestamp() + make_interval(secs => CASE WHEN d.attempt >= s.max_deliveries THEN 0
        ELSE greatest(s.delays[least(d.attempt, cardinality(s.delays))] * (0.8 + 0.4 * random()), given.pause) END)
    FROM given JOIN subscriptions s ON s.org_id = given.org_id AND s.id = given.subscription_id
    WHERE NOT given.is_acknowledged
      AND d.org_id = given.org_id AND d.subscription_id = given.subscription_id AND d.id = given.id AND d.lease = given.lease
    RETURNING d.org_id, d.subscription_id, d.id, d.attempt, d.event_id, given.seconds, given.status, given.answer
), ended AS (
    SELECT acknowledged.*, 'acknowledged' AS outcome FROM acknowledged
    UNION ALL
    SELECT refused.*, 'refused' FROM refused
), kept AS (
    INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, status, answer)
    SELECT org_id, subscription_id, id, attempt, event_id, clock_timestamp() - make_interval(secs => seconds), clock_timestamp(), outcome,
           status, answer
    FROM ended
    ON CONFLICT DO NOTHING
)
SELECT subscription_id, id FROM ended
