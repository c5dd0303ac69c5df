"""Synthetic months: files as the city publishes them, from a seed, and what each of their rows must become.

The truth comes from the planting, never from curation, so that the two can be held against each other.
"""

from chillflow.synth.files import Made, write_month
from chillflow.synth.months import Synthetic, synthesize

__all__ = ["Made", "Synthetic", "synthesize", "write_month"]
