select pg_snapshot_xmin(pg_current_snapshot()) < $1::xid8,
       least((select min(xact_start) from pg_stat_activity where backend_xid is not null),
           :schema.oldest_transaction(),
             (select min(prepared) from pg_prepared_xacts), now())
