-- Statistics and the log of queries of the caller's organisation; row-level security adds it to every WHERE.

-- name: documents
SELECT status, language, sum(documents)::bigint AS documents, sum(bytes)::bigint AS bytes
FROM knowledge_counts WHERE knowledge_id = $1 GROUP BY status, language HAVING sum(documents) <> 0

-- name: index
-- With what is not folded in yet. How many bytes a chunk takes is known of all chunks together; there are at least this base's,
-- also where PostgreSQL has not counted them yet (reltuples is -1) or counted fewer.
WITH own AS (
    SELECT scope, chunks, length FROM knowledge_scopes WHERE org_id = current_org() AND knowledge_id = $1
), waiting AS (
    SELECT coalesce(sum(chunks), 0) AS chunks, coalesce(sum(length), 0) AS length
    FROM knowledge_changes WHERE scope = (SELECT scope FROM own)
), counted AS (
    SELECT (coalesce((SELECT chunks FROM own), 0) + waiting.chunks)::bigint AS chunks,
           (coalesce((SELECT length FROM own), 0) + waiting.length)::bigint AS terms
    FROM waiting
), each_one AS (
    SELECT sum(pg_total_relation_size(oid) / greatest(reltuples, counted.chunks, 1)) AS bytes
    FROM counted, pg_class WHERE oid IN ('chunks'::regclass, 'chunk_terms'::regclass)
)
SELECT chunks, terms, (chunks * each_one.bytes)::bigint AS index_bytes, (SELECT scope FROM own) AS scope,
       (SELECT count(*) FROM (SELECT FROM knowledge_lexemes WHERE scope = (SELECT scope FROM own) LIMIT $2) AS first_of_them) AS vocabulary
FROM counted, each_one

-- name: vectors
-- Of the model that questions are asked by, else of the newest that is being made.
SELECT m.name AS model, (SELECT count(*) FROM (SELECT FROM chunk_vectors WHERE scope = $1 AND model = m.id LIMIT $2) AS first_of_them) AS chunks
FROM embedding_models AS m
LEFT JOIN vector_scopes AS asked ON asked.scope = $1 AND asked.model = m.id
WHERE asked.scope IS NOT NULL OR EXISTS (SELECT FROM chunk_vectors AS v WHERE v.scope = $1 AND v.model = m.id)
ORDER BY asked.scope IS NULL, m.id DESC LIMIT 1

-- name: last_ingestion
SELECT status, started_at, finished_at FROM jobs
WHERE owner = $1 AND kind = 'knowledge.ingest' AND key = $2 ORDER BY created_at DESC LIMIT 1

-- name: usage
SELECT hour, queries, without_results, times FROM knowledge_usage
WHERE org_id = current_org() AND knowledge_id = $1 AND hour > $2

-- name: queries
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty.
WITH wanted AS (
    SELECT * FROM knowledge_queries
    WHERE org_id = current_org() AND knowledge_id = $1
      AND ($4::boolean IS NULL OR (results = 0) = $4) AND ($5::boolean IS NULL OR helpful = $5)
      AND ($6::text IS NULL OR caller = $6)
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM (SELECT FROM wanted LIMIT $7) AS first_of_them) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY time DESC, id DESC LIMIT $2 OFFSET $3) AS page ON true
ORDER BY page.time DESC, page.id DESC

-- name: judge
UPDATE knowledge_queries SET helpful = $3, helped_by = $4, judged_at = $5
WHERE org_id = current_org() AND knowledge_id = $1 AND id = $2
RETURNING id
