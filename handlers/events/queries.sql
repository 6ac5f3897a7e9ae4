-- The log as clients read it: the whole envelope, however large. Row-level security adds the organisation to every WHERE.

-- name: find
SELECT event_id, position, channel, time, envelope FROM events WHERE event_id = $1

-- name: has_been
SELECT EXISTS (SELECT FROM {table}_history WHERE id = $1)
