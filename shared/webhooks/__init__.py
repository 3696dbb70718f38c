"""Outgoing webhooks by the Standard Webhooks specification.

`endpoints` is the configuration: who is told of what, without secrets. `signing` makes the headers, `payload` the body,
`sender` posts. Whoever wants something delivered publishes a `DeliverWebhook` for each endpoint that `takes` it.
"""
