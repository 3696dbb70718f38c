"""A scripted server with the OpenAI interface, for tests and benchmarks only. Every answer says that no model wrote it."""

from tests.scripted.server import Scripted

__all__ = ["Scripted"]
