"""The ledger: a small sample executor of approved actions."""

from contracts.ledger.messages import Entry, EntryPosted, PostingFailed, PostingStarted

__all__ = ["Entry", "EntryPosted", "PostingFailed", "PostingStarted"]
