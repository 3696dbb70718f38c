-- The epoch; the transaction below which all are settled; and whether the messages bear transactions that this server has
-- not reached, since they were copied from another.
select (select epoch from :schema.epochs order by number desc limit 1),
       pg_snapshot_xmin(pg_current_snapshot()),
       coalesce((select xact >= pg_snapshot_xmax(pg_current_snapshot())
                   from :schema.messages order by xact desc, position desc limit 1), false)
