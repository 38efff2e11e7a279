"""What is done with a cache besides drawing: explain, adopt, prune, verify, export and load."""
