"""Kafka: the only room of contracts, shared, services and infra that imports aiokafka.

- `consumer` receives for a service; `offsets`, `groups` and `health` are its parts.
- `producer` publishes what is stored, in order; `queues` is its part. `ephemeral` publishes what may be lost, `direct` what
  no service has stored.
- `reader` reads topics from a position, without a group. `admin` provisions topics, `brokers` looks at the cluster.
- `connection` has names and arguments, `record` and `record_batches` what was consumed, `internals` all that reaches inside
  aiokafka.
"""
