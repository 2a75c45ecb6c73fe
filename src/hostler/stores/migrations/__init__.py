"""The steps from one version of the store to the next. One that has landed is never edited."""
