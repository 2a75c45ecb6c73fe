"""Files to and from many hosts: one look at what is there, then one stream of what differs."""
