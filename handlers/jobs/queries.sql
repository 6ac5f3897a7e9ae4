-- Jobs of the caller's organisation; row-level security adds it to every WHERE.

-- name: list
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty. It is
-- counted up to $5.
WITH wanted AS (
    SELECT id, org_id, kind, status, priority, attempt - released AS attempts, max_attempts, progress, result, error, run_at,
           cancel_requested_at, created_at, started_at, finished_at
    FROM jobs
    WHERE ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR status = $4)
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM (SELECT FROM wanted LIMIT $5) AS first_of_them) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2) AS page ON true
ORDER BY page.created_at DESC, page.id DESC

-- name: find
SELECT id, kind, status, priority, attempt - released AS attempts, max_attempts, progress, result, error, run_at,
       cancel_requested_at, created_at, started_at, finished_at
FROM jobs WHERE id = $1

-- name: cancel
-- One that waits ends here and now; one that runs ends where it runs. One that has ended stays as it is.
UPDATE jobs
SET status = CASE WHEN status = 'queued' THEN 'cancelled' ELSE status END,
    finished_at = CASE WHEN status = 'queued' THEN $2::timestamptz END,
    cancel_requested_at = coalesce(cancel_requested_at, $2::timestamptz)
WHERE id = $1 AND status IN ('queued', 'running')
RETURNING id, kind, status, priority, attempt - released AS attempts, max_attempts, progress, result, error, run_at,
          cancel_requested_at, created_at, started_at, finished_at
