-- Who may not speak in a chat, or not be there. Row-level security adds the organisation to every WHERE.

-- name: sweep
-- What ended long ago is of no use to anybody: no node knows it any more.
DELETE FROM chat_sanctions
WHERE (org_id, id) IN (
    SELECT org_id, id FROM chat_sanctions
    WHERE least(lifted_at, ends_at) < clock_timestamp() - interval '1 day' LIMIT 100
)

-- name: replace
-- One of a kind holds against a subject in a chat.
UPDATE chat_sanctions SET lifted_at = clock_timestamp(), touched_at = clock_timestamp()
WHERE chat = $1 AND subject = $2 AND kind = $3 AND lifted_at IS NULL

-- name: insert
INSERT INTO chat_sanctions (org_id, id, chat, subject, kind, reason, by_subject, created_at, ends_at, touched_at)
VALUES (current_org(), $1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8), clock_timestamp())
RETURNING id, chat, subject, kind, reason, by_subject, created_at, ends_at

-- name: count
SELECT count(*) FROM chat_sanctions WHERE chat = $1 AND lifted_at IS NULL AND (ends_at IS NULL OR ends_at > clock_timestamp())

-- name: page
-- One statement, so that the page and the total are of one moment; the total stands alone where the page is empty.
WITH wanted AS (
    SELECT id, chat, subject, kind, reason, by_subject, created_at, ends_at FROM chat_sanctions
    WHERE chat = $1 AND lifted_at IS NULL AND (ends_at IS NULL OR ends_at > clock_timestamp())
      AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR subject = $5)
)
SELECT counted.total, page.*
FROM (SELECT count(*) AS total FROM wanted) AS counted
LEFT JOIN (SELECT * FROM wanted ORDER BY id DESC LIMIT $2 OFFSET $3) AS page ON true
ORDER BY page.id DESC

-- name: lift
UPDATE chat_sanctions SET lifted_at = clock_timestamp(), touched_at = clock_timestamp()
WHERE chat = $1 AND id = $2 AND lifted_at IS NULL AND (ends_at IS NULL OR ends_at > clock_timestamp())
RETURNING id, kind, subject

-- name: since
SELECT asked_at, org_id, id, chat, subject, kind, ends_at, is_lifted FROM chat_sanctions_since($1)
