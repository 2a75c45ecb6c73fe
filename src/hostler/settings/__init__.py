"""Where a verb's values come from when no flag says them: the environment, the project's file, the user's file.

Flags win over `HOSTLER_*` variables, those over `./hostler.toml`, that over the user's file, that over the default; and
each value knows where it comes from. What may be set is told from outside, as Fields: nothing here knows a verb.
It must never be imported by `hostler --help`, nor read a file that others could have written.
"""
