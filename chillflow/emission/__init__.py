"""Emission: which events a replay sends, in which order, and which faults it plants among them."""
