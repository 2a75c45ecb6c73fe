"""The uses of hostler, independent of each other."""
