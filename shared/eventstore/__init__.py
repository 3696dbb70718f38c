"""The event store: nothing counts until it is stored. `model` is what is stored, `ports` what a store must do, `postgres` and
`memory` are stores."""
