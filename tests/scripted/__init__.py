"""A scripted server with the OpenAI interface, for tests and benchmarks only. It is no model, and every answer says so."""

from tests.scripted.server import Scripted

__all__ = ["Scripted"]
