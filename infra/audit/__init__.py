"""Audits: what the record holds, whether it holds true, and how to publish it again or rebuild it from Kafka."""
