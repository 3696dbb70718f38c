select greatest(pg_stat_get_live_tuples(oid), reltuples::bigint, 0) from pg_class where oid = to_regclass($1)
