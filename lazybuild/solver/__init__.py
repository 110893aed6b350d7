"""Which vertices must run, in what order, and what the cache already holds. Never sees a mount."""
