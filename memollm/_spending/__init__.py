"""What draws took and saved: usage, prices, budgets, and the counts that add up to statistics."""
