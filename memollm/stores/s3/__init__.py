"""The store that shares samples through a bucket: a SQLite file of this machine, and objects that all machines read."""
