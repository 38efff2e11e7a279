"""What servers on this machine have in common: a socket to listen on, and who it is that asks."""
