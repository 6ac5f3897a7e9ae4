-- name: put
-- As an operation's events go (core/operations/finish.sql).
INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope, short)
SELECT $1, event.id, event.type, event.subject, event.channel, event.time, event.envelope, event.short
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
    WITH ORDINALITY AS event (id, type, subject, channel, time, envelope, short, place)
ORDER BY event.place
