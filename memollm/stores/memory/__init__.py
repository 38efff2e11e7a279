"""The memory store: the reference model of the protocol, for tests and throw-away use."""
