"""What a service decides by, besides its code: see `hansard.policy`."""

from hansard.policy import Basis, canonical, is_behind, version_of

__all__ = ["Basis", "canonical", "is_behind", "version_of"]
