"""Takes reviews and requests over HTTP, from whom a token or a key proves.

Receives   over HTTP: a review with a token of the deployment's OpenID provider, or a request with an API key.
Publishes  each review, once it is recorded, to approval, with the identity that the token proved. A request goes to its door, as
           any program's does, in the tenant of its key.
Never      decides: whether the identity is the reviewer's, and whether the review counts, is for approval.

Not every deployment runs it: `hansard serve edge`, where HANSARD_EDGE names an address. Put TLS before it.
"""
