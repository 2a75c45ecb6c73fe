"""How we reach a host: one module per way, all behind ports.Transport and the same contract suite.

Importing this package loads none of them: only the wiring, and users who name one, pay for it.
"""
