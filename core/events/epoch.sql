-- name: server
-- The timeline is that of the WAL being written: a restored backup or a promoted standby has another one.
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline

-- name: lock
SELECT pg_advisory_xact_lock($1)

-- name: current
SELECT epoch, system_identifier, timeline FROM log_epoch

-- name: heads
SELECT org_id, position FROM heads WHERE org_id = ANY ($1::uuid[])

-- name: write
INSERT INTO log_epoch (epoch, system_identifier, timeline) VALUES ($1, $2, $3)
ON CONFLICT (only_row) DO UPDATE
SET epoch = excluded.epoch, system_identifier = excluded.system_identifier, timeline = excluded.timeline,
    started_at = clock_timestamp()
