"""The rules of drawing, which stand here once: what a draw takes, waits for, stores and gives back."""
