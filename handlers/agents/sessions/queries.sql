-- Sessions and their messages. Row-level security adds the organisation to every WHERE. What a deleted agent had is not there for anybody.

-- name: agent
-- Kept until the transaction ends: an agent is not deleted while it gets a session.
SELECT id FROM agents WHERE id = $1 FOR KEY SHARE

-- name: has_agent
SELECT true FROM agents WHERE id = $1

-- name: insert
INSERT INTO sessions (org_id, id, agent_id, title, metadata, version, created_by, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, $4, 1, $5, $6, $6)
RETURNING {shown}

-- name: find
SELECT {shown} FROM sessions AS s WHERE id = $1 AND EXISTS (SELECT FROM agents AS a WHERE a.id = s.agent_id)

-- name: hold
-- Who sends, chooses a branch or ends a run holds the session: one after the other.
SELECT {shown} FROM sessions AS s WHERE id = $1 AND EXISTS (SELECT FROM agents AS a WHERE a.id = s.agent_id) FOR UPDATE

-- name: change
UPDATE sessions SET title = $2, metadata = $3, head_id = $4, version = version + 1, updated_at = $5 WHERE id = $1
RETURNING {shown}

-- name: begin
-- A run answers the message, which is the head from now on.
UPDATE sessions SET title = $2, head_id = $3, active_id = $4, version = version + 1, updated_at = $5 WHERE id = $1
RETURNING {shown}

-- name: remove
DELETE FROM sessions WHERE id = $1

-- name: message
SELECT id, parent_id, role, text FROM messages WHERE session_id = $1 AND id = $2

-- name: count
SELECT count(*) FROM messages WHERE session_id = $1

-- name: say
INSERT INTO messages (org_id, id, session_id, parent_id, role, text, attachments, citations, created_by, created_at)
VALUES (current_org(), $1, $2, $3, 'user', $4, $5, '[]', $6, $7)
RETURNING id, session_id, parent_id, role, text, attachments, citations, execution_id, created_by, created_at,
    ARRAY(SELECT o.id FROM messages AS o
        WHERE o.session_id = $2 AND (o.parent_id = $3 OR (o.parent_id IS NULL AND $3 IS NULL)) ORDER BY o.id) || id AS siblings

-- name: newest_end
-- From a message down, each time to what was said last: the end of its branch.
WITH RECURSIVE down AS (
    SELECT id, 1 AS step FROM messages WHERE session_id = $1 AND id = $2
    UNION ALL
    SELECT child.id, step + 1
    FROM down CROSS JOIN LATERAL (
        SELECT m.id FROM messages AS m WHERE m.session_id = $1 AND m.parent_id = down.id ORDER BY m.id DESC LIMIT 1) AS child
)
SELECT id FROM down ORDER BY step DESC LIMIT 1

-- name: way
-- The way from the first message to $2: $3 messages after $4, how many there are in all, and how long the page is.
WITH RECURSIVE up AS (
    SELECT id, parent_id, 1 AS step FROM messages WHERE session_id = $1 AND id = $2
    UNION ALL
    SELECT m.id, m.parent_id, step + 1 FROM up JOIN messages AS m ON m.session_id = $1 AND m.id = up.parent_id
), total AS (
    SELECT count(*) AS total FROM up
), page AS (
    SELECT id, step FROM up ORDER BY step DESC LIMIT $3 OFFSET $4
)
SELECT total, sum(octet_length(m.text) + octet_length(m.attachments) + octet_length(m.citations)) OVER () AS bytes,
    m.id, m.session_id, m.parent_id, m.role, m.text, m.attachments, m.citations, m.execution_id, m.created_by, m.created_at,
    ARRAY(SELECT o.id FROM messages AS o
        WHERE o.session_id = $1 AND (o.parent_id = m.parent_id OR (o.parent_id IS NULL AND m.parent_id IS NULL)) ORDER BY o.id) AS siblings
FROM total LEFT JOIN page ON true LEFT JOIN messages AS m ON m.session_id = $1 AND m.id = page.id
ORDER BY page.step DESC

-- name: history
-- The way up from $2, the newest first: $3 messages at most, and so many that the texts between the first and the last have fewer than $4 characters.
WITH RECURSIVE up AS (
    SELECT id, parent_id, 1 AS step FROM messages WHERE session_id = $1 AND id = $2
    UNION ALL
    SELECT m.id, m.parent_id, step + 1 FROM up JOIN messages AS m ON m.session_id = $1 AND m.id = up.parent_id WHERE step < $3
), sized AS (
    SELECT m.id, step, sum(CASE WHEN step > 1 THEN length(m.text) ELSE 0 END) OVER (ORDER BY step) AS so_far, length(m.text) AS own
    FROM up JOIN messages AS m ON m.session_id = $1 AND m.id = up.id
)
SELECT m.id, m.role, m.text, m.attachments FROM sized JOIN messages AS m ON m.session_id = $1 AND m.id = sized.id
WHERE step = 1 OR so_far - own < $4
ORDER BY step
