"""The PostgreSQL store: samples and cursors of many machines, in tables of a server."""
