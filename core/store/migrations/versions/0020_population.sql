-- Revision 0020: how many resources there are now, without counting them.
-- Runs as hub_owner with search_path = hub, public.

-- What the log says, and what waits to be in it: a resource and its event are of one transaction, and so are an event's way into the log
-- and the population that it makes; so in one snapshot both together are what counting would find. NULL where so much waits that
-- counting is as fast, and in a transaction that has written: its own events are put into the outbox last. In the order of the index, so
-- that no plan reads the table, which has grown wherever the relay stood still.
CREATE FUNCTION population(kind text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = hub, pg_temp
RETURN (
    WITH waiting AS (
        SELECT org_id, type, subject FROM outbox WHERE shard = shard_of(current_org()) ORDER BY seq LIMIT 1001
    )
    SELECT CASE WHEN count(*) <= 1000 AND pg_current_xact_id_if_assigned() IS NULL THEN
        coalesce((SELECT total FROM populations AS p WHERE p.org_id = current_org() AND p.kind = population.kind
                  ORDER BY p.position DESC LIMIT 1), 0)
        + coalesce((sum(CASE WHEN type LIKE '%.created' THEN 1 ELSE -1 END) FILTER (
            WHERE org_id = current_org() AND starts_with(subject, population.kind || '/') AND life_of(subject) IS NOT NULL
              AND type IN ('agent.created', 'knowledge.created', 'twin.created', 'agent.deleted', 'knowledge.deleted', 'twin.deleted')
          ))::bigint, 0)
    END
    FROM waiting
);
REVOKE EXECUTE ON FUNCTION population(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION population(text) TO hub_app;
