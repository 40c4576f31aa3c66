"""Floor 3: what happened. Events and their states, write keys, the event log, waiting, the clock."""
