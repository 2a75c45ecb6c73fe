"""Remote words as data: pure builders of what runs at the far end; nothing here runs anything."""
