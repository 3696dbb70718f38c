"""Logs, metrics, traces and health of a process. No message bodies, no secrets."""
