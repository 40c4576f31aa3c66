"""Floor 5: what a test sees. `Postback`, events and records, assertions, failure text, report."""
