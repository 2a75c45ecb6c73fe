"""`hostler top`'s screen in Textual. Nothing else may import this package: Textual is an extra, and slow to load."""
