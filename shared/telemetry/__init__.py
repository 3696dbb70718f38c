"""Seen from outside: logs without payloads, metrics, traces, health."""
