"""What lists, gives and takes files, at both ends of a line: sent to hosts, and used here just as it is.

It must never import anything but the standard library and itself, and needs Python 3.6.
"""
