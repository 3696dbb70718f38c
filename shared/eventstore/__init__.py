"""The event store: nothing counts until it is here. `record` says what is kept, `postgres` and `memory` keep it."""
