"""The program that is parent of many jobs on a host and outlives the line to it.

Its modules use the standard library only, in the grammar of Python 3.6, and are joined into one source that is sent
to the host (see `hostler.remote.source`). They import each other by one-line `from hostler.remote.runner...` imports,
which the joining drops. It is never installed on a host, and it never believes an incomplete message.
"""
