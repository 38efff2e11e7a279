"""The drivers: they do what the rules ask for, in threads or in tasks. `await` stands here and nowhere else."""
