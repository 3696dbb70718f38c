"""Kafka: the only room of contracts, shared, services and infra that imports aiokafka.

- `consumer` receives for a service; `offsets`, `groups` and `health` are its parts.
- `producer` publishes stored messages in order; `queues` is its part. `ephemeral` publishes messages that may be lost,
  `direct` those that no service has stored.
- `reader` reads topics from a position, without a group. `admin` provisions topics, `brokers` looks at the cluster.
- `connection` has names and arguments, `record` and `record_batches` the consumed records, `internals` all code that reaches
  inside aiokafka.
"""
