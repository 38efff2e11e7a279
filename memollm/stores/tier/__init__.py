"""Tiers before a server: copies of samples near, large records in a bucket, and the server asked for all else."""
