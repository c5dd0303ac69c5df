"""A month from a seed: rides, faults among them, pairs, and all of it in file order."""

from dataclasses import dataclass

import numpy as np

from chillflow.months import Month
from chillflow.synth.dice import Dice, Ints
from chillflow.synth.eras import Era, era
from chillflow.synth.faults import plant_faults
from chillflow.synth.field import Field, Quotas
from chillflow.synth.oddities import plant_oddities
from chillflow.synth.pairs import duplicates, plant_originals, reversals
from chillflow.synth.rides import anywhere, rides, sort_keys, tell_apart
from chillflow.synth.rows import Rows
from chillflow.synth.truth import Truth
from chillflow.trips import SERVICES


@dataclass(frozen=True)
class Synthetic:
    """A month in memory, in file order."""

    era: Era
    rows: Rows
    truth: Truth


def synthesize(service: str, month: Month, rows: int, seed: int) -> Synthetic:
    """A month of `rows` rows; the same for the same arguments, on every machine.

    Months do not depend on each other. Raises NoSuchEra before the first month whose files have zones.
    """
    published = era(service, month)
    dice = Dice(seed, SERVICES.index(service), month.year, month.number)
    quotas = Quotas.of(service, month, rows)
    field = Field(
        service=service,
        month=month,
        dice=dice,
        rows=rides(dice, service, month, published, quotas.rides, quotas.flexible),
        truth=Truth.of_trips(quotas.rides),
        quotas=quotas,
        untouched=dice.order(quotas.rides - quotas.flexible),
    )
    keys = sort_keys(dice, month, field.rows)
    originals = plant_originals(field)
    plant_faults(field)
    plant_oddities(field)
    tell_apart(field.rows)
    return _in_file_order(field, published, originals, keys)


def _in_file_order(field: Field, published: Era, originals: Ints, keys: Ints) -> Synthetic:
    flex = np.arange(len(field.rows)) >= field.main
    mirrored, mirrored_truth, mirrored_keys = reversals(field, originals, keys)
    field.rows = Rows.concat([field.rows, mirrored])
    field.truth = field.truth.join(mirrored_truth)
    flex = np.concatenate([flex, np.zeros(len(mirrored), bool)])
    again = duplicates(field)
    keys = np.concatenate([keys, mirrored_keys, anywhere(field.dice, field.month, len(again))])
    flex = np.concatenate([flex, flex[again]])
    order = np.lexsort((keys, flex))
    truth = field.truth.join(field.truth.take(again)).take(order)
    truth.settle()
    return Synthetic(published, Rows.concat([field.rows, field.rows.take(again)]).take(order), truth)
