"""The language of the services: every message, its topic, its schema and its golden examples, in one folder a service."""
