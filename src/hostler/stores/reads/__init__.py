"""Questions to the store, one file per noun, each a plain function over a Reader.

They must never write, and every one of them is bounded, or hands out rows as they come.
"""
