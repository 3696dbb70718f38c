"""Audits: show the record, verify it, publish it again, and rebuild it from Kafka."""
