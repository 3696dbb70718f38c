"""Runs a service: receive, decide, append, publish, commit offsets.

A message on its way passes nine files, in five shapes: `Record`, `Envelope`, `Inbound`, `Message`, `StoredMessage`.

1. `shared/kafka/consumer.py` reads a batch of `Record`s
2. `inbound.py` parses each into an `Inbound` with its `Message`; once they are stored, it reports the offsets to commit
3. `shared/hansard/envelope.py` reads the `Envelope` of a record, and writes the headers of a stored message
4. `loop.py` takes the batch, loads its streams, appends, and confirms what was accepted
5. `processor.py` asks the decider, and adds an inbox entry and `StoredMessage`s to the `PendingAppend` of the stream
6. `services/<name>/decider.py` decides
7. `shared/eventstore/postgres/streams.py` stores the batch in one transaction
8. `outbox.py` publishes what is stored, and again after a failure
9. `shared/kafka/producer.py` writes the same bytes to the topic

These call small functions elsewhere: `codec` (JSON), `identity` (ids), the catalogue (topics), `columns` (rows), metrics, traces.

Beside the way: `performer.py` runs attempts, `wake_ups.py` claims what is due, `heartbeat.py` finds silent processes,
`crash_guard.py` finds what ended the process, `performer_context.py` is what a performer may use. `assembly.py` puts all
of it together for one service, `process.py` runs one or several.
"""
