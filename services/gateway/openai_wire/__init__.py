"""Chat Completions and Responses as they are on the wire: what is sent, and how answers are read. Pure: no client, no network."""
