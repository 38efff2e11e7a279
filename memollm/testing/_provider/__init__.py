"""The parts of the fake provider: what its model says, how each API says it, and its server."""
