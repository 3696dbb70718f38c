"""Runs in the code of a release: says which kinds it knows, and which of the given messages it cannot read.

Imports nothing of today's: `python in_release.py` in the folder of the release, with JSON on standard input.
"""

import json
import sys

sys.path.insert(0, "")

from contracts.catalog import Topics
from hansard.codec import decode
from hansard.envelope import read


def unread(given: dict[str, str]) -> str:
    """Why this code cannot read an example, or nothing."""
    headers = [(name, value.encode()) for name, value in json.loads(given["headers"]).items()]
    try:
        envelope = read(given["body"].encode(), headers)
        decode(Topics().kinds[envelope.type], envelope.data)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


known = Topics().kinds
wrong = {one["name"]: why for one in json.load(sys.stdin) if one["kind"] in known and (why := unread(one))}
json.dump({"kinds": sorted(known), "unread": wrong, "code": decode.__code__.co_filename}, sys.stdout)
