"""Pure decisions: facts in, what to set in motion out. No clock, no I/O, no randomness."""
