"""What the ledger's performer reports to its own streams: recorded, never published."""

from contracts.ledger import Entry
from hansard.message import Outcome, Path


class PostingReturned(Outcome):
    """The outcome of one attempt: the entry as it was found in the book, why there can be none, or why nobody knows."""

    kind = "hansard.ledger.posting-returned.v1"
    task: Path
    entry: Entry | None = None
    refused: str = ""
    failed: str = ""
