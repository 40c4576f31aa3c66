"""The server: bytes become requests, and responses become bytes. It decides about no event."""
