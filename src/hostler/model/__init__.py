"""Values: what is wanted and what happened, without I/O and without a clock."""
