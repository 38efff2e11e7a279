"""The Redis and Valkey store: drawing, looking and keeping by scripts of the server."""
