"""Who should own which partition: pure decisions of the coordinator."""
