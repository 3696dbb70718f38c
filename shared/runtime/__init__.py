"""Runs a service: receive, decide, append, publish, commit offsets.

One message on its way passes nine files and has five shapes:

1. `shared/kafka/consumer.py` gives a batch of `Record`s
2. `inbound.py` makes each an `Inbound` with its `Message`; once they are stored, it reports the offsets to commit
3. `shared/hansard/envelope.py` reads the `Envelope` on the way
4. `loop.py` takes batches, loads streams, appends, confirms
5. `processor.py` asks the decider, and adds an inbox entry and `StoredMessage`s to the append of the stream
6. `services/<name>/decider.py` decides
7. `shared/eventstore/postgres.py` stores the batch in one transaction
8. `outbox.py` publishes what is stored, and again after a failure
9. `shared/kafka/producer.py` writes the same bytes to the topic

Beside the way: `performer.py` runs attempts, `wake_ups.py` claims what is due, `heartbeat.py` finds silent processes,
`crash_guard.py` finds what ended the process, `performer_context.py` is what a performer may use. `assembly.py` puts all
of it together for one service, `process.py` runs one or several.
"""
