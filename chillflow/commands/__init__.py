"""Commands that are no jobs."""
