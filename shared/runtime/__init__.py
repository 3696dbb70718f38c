"""Record, then speak: poll, fold, decide, append, publish, commit offsets.

A message flows from top to bottom: `hearing` (what was heard, and by which stream) · `turns` (what is said, purely) ·
`loop` (on the record, then spoken) · `performer` and `waker` (what the world and the clock answer) · `outbox`.
"""
