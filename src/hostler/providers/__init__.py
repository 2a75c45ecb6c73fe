"""How we get a host: each module launches and ends machines of one kind, and none knows of SSH's doings on them."""
