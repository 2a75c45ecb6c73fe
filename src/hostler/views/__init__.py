"""How a run is seen. Nothing in here is ever consulted to decide anything."""
