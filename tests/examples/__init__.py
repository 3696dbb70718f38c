"""Examples, in the order in which to read them. Each runs as a test: `pytest tests/examples`."""
