"""Layer 2: what the service does, as pure functions on values: no I/O, clock, thread or state."""
