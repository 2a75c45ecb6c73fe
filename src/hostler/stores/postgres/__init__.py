"""The store in a PostgreSQL database, which controllers on several machines may share.

Imported only when a store is named by a postgresql:// URL: psycopg is an extra, and takes a while to import. All that
is said to the server is said in threads of its own, since a server that is slow or gone must not hold up the hosts.
"""
