"""Floor 2: what the specification says, as pure functions on values.

Nothing in here opens a socket, reads a clock, starts a thread or knows a list of write keys.
"""
