"""Runs a service: receive, decide, append, publish, commit offsets.

On its way a message has five shapes: `Record`, `Envelope`, `Inbound`, `Message`, `StoredMessage`. Beside them, a batch has one
`PendingAppend` for each stream (with an `InboxEntry` for each message), and each cached stream has its `StreamState`.

1. `shared/kafka/consumer.py` reads a batch of `Record`s
2. `inbound.py` takes the batch (`Intake`); once its messages are stored, it reports the offsets to commit
3. `shared/hansard/envelope.py` reads the `Envelope` of each record
   `inbound.py` makes an `Inbound` of it, with the decoded `Message`, for the stream that the service's `receives` names
4. `loop.py` loads the streams, appends, and confirms what was accepted
5. `processor.py` asks the decider, and adds an `InboxEntry` and `StoredMessage`s to the stream's `PendingAppend`
6. `services/<name>/decider.py` decides
7. `shared/eventstore/postgres/streams.py` stores the batch in one transaction
8. `outbox.py` publishes the stored messages, and again after a failure
9. `shared/kafka/producer.py` writes the same bytes to the topic, with headers that `envelope.py` writes

These call small functions elsewhere: `Service.stream`, `codec` (JSON), `identity` (ids), the catalogue (topics), `columns`
(rows), metrics, traces.

Not on this way: `performer.py` runs attempts, `wake_ups.py` claims due wake-ups, `heartbeat.py` finds silent processes,
`crash_guard.py` splits a batch after an unclean end, `performer_context.py` has the tools of a performer. `assembly.py` puts all
of it together for one service, `process.py` runs one or several.
"""
