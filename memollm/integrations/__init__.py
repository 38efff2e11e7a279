"""What lets frameworks draw: one module for each, imported only where it is named, upon the public face alone."""
