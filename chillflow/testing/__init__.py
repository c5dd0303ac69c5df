"""Doubles of the stores, a clock and failpoints: used by tests, by the simulation, and to try things out."""
