"""The language: every message, its envelope, its topic and its golden example. Imports nothing of ours."""
