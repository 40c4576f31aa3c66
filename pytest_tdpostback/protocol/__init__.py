"""Layer 2: what the service does, as pure functions on values.

Nothing in here opens a socket, reads a clock, starts a thread or knows which write keys are valid.
"""
