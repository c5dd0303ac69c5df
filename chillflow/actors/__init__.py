"""Long-lived Ray actors: assemblers, and the coordinator that hands out partitions to them."""
