"""Who comes by HTTP: people by a token of an OpenID provider, programs by an API key.

`tokens` verifies a token, `provider` fetches and keeps the provider's keys, `api_keys` are ours.
"""
