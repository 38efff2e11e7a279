"""The SQLite store: one file, shared by the threads and processes of one machine."""
