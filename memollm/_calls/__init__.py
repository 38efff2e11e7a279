"""The decorated function: what was asked for, with which options, and where a call stands when it is made."""
