-- The newest messages of some kinds are read without all others between them: what waits for a person, past cases, prices.
create index messages_of_a_kind on messages (kind, xact, position);
