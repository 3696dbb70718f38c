-- Takes a transaction id for itself: the end of a snapshot may be lower than ids that are taken already.
select pg_current_xact_id()
