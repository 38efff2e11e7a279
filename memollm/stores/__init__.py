"""Stores: where samples are kept. A new store is a folder here, and writes what `drawing.py` asks for."""
