"""The event store: nothing counts until it is stored. `model` has the stored data, `ports` the protocols of a store, `postgres`
and `memory` are stores."""
