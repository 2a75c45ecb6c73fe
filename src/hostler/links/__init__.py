"""Our ends of attempts on one host: over the runner, or in memory."""
