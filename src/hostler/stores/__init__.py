"""How hostler remembers: rows that are the truth, events that are the history, files that hold output.

Nothing here decides anything. SQLAlchemy and Alembic stand behind `schema` and `migrations` only and are not
imported to open a store of today's version: that would cost every command a quarter of a second.
"""
