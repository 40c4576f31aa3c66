"""Floor 3: what happened: events and their states, write keys, the log, waiting, the clock."""
