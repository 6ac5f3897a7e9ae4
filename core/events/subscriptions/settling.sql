-- The answers to many deliveries at once, of any organisations' subscriptions, as hub_system.

-- name: settle
-- Fenced by the leases. What was refused for the last time is due at once: whoever leases next finds it and makes it a dead letter.
-- Delays are the subscription's, spread by a fifth to either side, or at least `pause`.
-- Rows are named by arrays, not by a join with a list of the answers, as in deliveries.sql. No two leases are the same, so a lease's place
-- in $4 is that of its answer; what two consumers said of one delivery, each under its own lease, are two answers.
WITH acknowledged AS (
    DELETE FROM deliveries d
    WHERE d.org_id = ANY ($1::uuid[]) AND d.subscription_id = ANY ($2::uuid[]) AND d.id = ANY ($3::bigint[]) AND d.lease = ANY ($4::uuid[])
      AND ($5::boolean[])[array_position($4::uuid[], d.lease)]
    RETURNING d.org_id, d.subscription_id, d.id, d.attempt, d.event_id, array_position($4::uuid[], d.lease) AS place
), refused AS (
    UPDATE deliveries d
    SET lease = NULL, due_at = clock_timestamp() + make_interval(secs => CASE WHEN d.attempt >= s.max_deliveries THEN 0
        ELSE greatest(s.delays[least(d.attempt, cardinality(s.delays))] * (0.8 + 0.4 * random()),
                      ($9::double precision[])[array_position($4::uuid[], d.lease)]) END)
    FROM subscriptions s
    WHERE d.org_id = ANY ($1::uuid[]) AND d.subscription_id = ANY ($2::uuid[]) AND d.id = ANY ($3::bigint[]) AND d.lease = ANY ($4::uuid[])
      AND NOT ($5::boolean[])[array_position($4::uuid[], d.lease)] AND s.org_id = d.org_id AND s.id = d.subscription_id
    RETURNING d.org_id, d.subscription_id, d.id, d.attempt, d.event_id, array_position($4::uuid[], (
        SELECT b.lease FROM deliveries b WHERE b.org_id = d.org_id AND b.subscription_id = d.subscription_id AND b.id = d.id)) AS place
), ended AS (
    SELECT acknowledged.*, 'acknowledged' AS outcome FROM acknowledged
    UNION ALL
    SELECT refused.*, 'refused' FROM refused
), over AS (
    UPDATE attempts a SET is_over = true
    WHERE a.org_id = ANY ($1::uuid[]) AND a.subscription_id = ANY ($2::uuid[])
      AND a.delivery = ANY (ARRAY(SELECT id FROM acknowledged WHERE attempt > 1))
), kept AS (
    INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, status, answer, is_over)
    SELECT org_id, subscription_id, id, attempt, event_id, clock_timestamp() - make_interval(secs => ($6::double precision[])[place]),
           clock_timestamp(), outcome, ($7::integer[])[place], ($8::text[])[place],
           outcome = 'acknowledged'
    FROM ended
    ON CONFLICT DO NOTHING
)
SELECT subscription_id, id FROM ended
