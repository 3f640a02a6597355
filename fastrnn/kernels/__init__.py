"""HOW the arithmetic runs: it knows arrays, not recurrence."""
