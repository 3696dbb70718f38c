"""What a service decides by, besides its code: see `hansard.policy`."""

from hansard.policy import StoredPolicy, canonical_json, matches_version, version_of

__all__ = ["StoredPolicy", "canonical_json", "matches_version", "version_of"]
