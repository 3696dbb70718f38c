"""The text of an attempt while it is written, for people who watch. It is published and not recorded."""

import time
import uuid
from dataclasses import dataclass

from contracts.gateway import AttemptStarted, TokensStreamed
from hansard.service import PerformerContext
from shared.eventstore.model import Stream

INTERVAL = 0.25  # seconds between two pieces


@dataclass
class TokenStream:
    """Publishes at most one piece every `INTERVAL`."""

    context: PerformerContext
    stream: Stream
    intent: AttemptStarted
    pieces: int = 0
    text: str = ""
    last: float = 0.0

    def add(self, text: str) -> None:
        self.text += text
        if time.monotonic() - self.last >= INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Publishes the text that is left."""
        if not self.text:
            return
        self.last, self.pieces = time.monotonic(), self.pieces + 1
        intent, text, self.text = self.intent, self.text, ""
        piece = TokensStreamed(call=intent.call, attempt=intent.attempt, tier=intent.tier, piece=self.pieces, text=text)
        self.context.publish_ephemeral(self.stream, piece, uuid.uuid4())
