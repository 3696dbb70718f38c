"""The content store: bodies and files by the SHA-256 of their bytes, for each tenant its own, carried by reference.

`ports` has the two protocols, `store` checks and chooses the place, `folder` and `bucket` are places beside Postgres.
"""

from shared.content.ports import ContentDamaged, ContentMissing, ContentRefused, ContentStore, Place, StoredContent
from shared.content.store import Contents, open_contents

__all__ = [
    "ContentDamaged",
    "ContentMissing",
    "ContentRefused",
    "ContentStore",
    "Contents",
    "Place",
    "StoredContent",
    "open_contents",
]
