"""Floor 4: the wire. Bytes become requests, answers become bytes; nothing is decided here."""
