"""What this code does on this machine: `make bench`. Real Kafka, real Postgres with fsync on, one process a service."""
