"""The one place that knows every implementation: it puts stores, transports, links and views together.

Nothing is decided here, and nothing below it is ever handed the settings.
"""
