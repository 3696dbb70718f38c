-- The transactions that had ended before Kafka was read.
create temp table bound as select pg_snapshot_xmin(pg_current_snapshot()) as xact
