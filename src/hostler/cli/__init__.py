"""The commands, one file per verb, thin: words in, a call of the work, words out."""
