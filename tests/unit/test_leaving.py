"""What is said of a topic that is left before all of it was assembled."""

from chillflow.jobs.leaving import account
from chillflow.positions import GivenUp, Topic

TOPIC = Topic("old", "id-1", 3)


def test_every_loss_is_said_and_summed_up():
    assert account(TOPIC, [
        GivenUp(0, 20, 12, 0, 1026, 1006, 3), GivenUp(1, 5, 5, 8, 11, 6, 0), GivenUp(2, 7, 5, 0, 7, 0, 1),
    ]) == [
        "old partition 0: 1,006 records from offset 20 on are not assembled, 3 open trips, whose first event is at "
        "offset 12",
        "old partition 1: 6 records from offset 5 on are not assembled (3 of them passed by retention), no open trips",
        "old partition 2: assembled to its end at offset 7, 1 open trips, whose first event is at offset 5",
        "given up with old: 1,012 records and 4 open trips (table given_up)",
    ]  # fmt: skip


def test_of_a_topic_that_is_gone_nobody_knows_how_much_it_held():
    assert account(TOPIC, [GivenUp(0, 20, 12, None, None, None, 3)]) == [
        "old partition 0: gone, assembled up to offset 20, 3 open trips, whose first event is at offset 12",
        "given up with old: an unknown number of records and 3 open trips (table given_up)",
    ]


def test_nothing_lost_is_said_too():
    assert account(TOPIC, []) == ["old: all of it was assembled, nothing is given up"]
