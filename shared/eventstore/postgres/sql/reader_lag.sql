select coalesce(extract(epoch from now() - least(
           (select min(xact_start) from pg_stat_activity where backend_xid is not null),
           :schema.oldest_transaction(),
           (select min(prepared) from pg_prepared_xacts),
           (select at from :schema.messages where xact >= pg_snapshot_xmin(pg_current_snapshot())
             order by xact, position limit 1))), 0)::float8
