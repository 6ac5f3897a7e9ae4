-- What the log of queries writes, as hub_system: for all organisations.

-- name: note
-- A batch that is written again after its commit was not heard of leaves nothing twice.
INSERT INTO knowledge_queries (org_id, id, knowledge_id, time, question, mode, results, found, best_score, took_ms, caller)
SELECT row.org_id, row.id, row.knowledge_id, row.time, row.question, row.mode, row.results,
       string_to_array(row.found, ',')::uuid[], row.best_score, row.took_ms, row.caller
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::integer[], $8::text[], $9::float8[],
            $10::float8[], $11::text[])
    AS row (org_id, id, knowledge_id, time, question, mode, results, found, best_score, took_ms, caller)
JOIN organisations ON organisations.id = row.org_id
ON CONFLICT DO NOTHING

-- name: count
INSERT INTO knowledge_usage (org_id, knowledge_id, hour, queries, without_results, times)
SELECT row.org_id, row.knowledge_id, row.hour, row.queries, row.without_results, row.times::integer[]
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::text[])
    WITH ORDINALITY AS row (org_id, knowledge_id, hour, queries, without_results, times, number)
JOIN organisations ON organisations.id = row.org_id
ORDER BY row.number
ON CONFLICT (org_id, knowledge_id, hour) DO UPDATE
SET queries = knowledge_usage.queries + excluded.queries,
    without_results = knowledge_usage.without_results + excluded.without_results,
    times = ARRAY(SELECT old + new FROM unnest(knowledge_usage.times, excluded.times) WITH ORDINALITY AS both_of (old, new, number)
                  ORDER BY number)
