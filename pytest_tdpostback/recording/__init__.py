"""Layer 6: what leaves the process, as values of JSON."""
