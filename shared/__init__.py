"""What every service stands on: decider, runtime, performer, event store, Kafka edge. Imports contracts only."""
