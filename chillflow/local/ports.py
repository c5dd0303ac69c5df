"""Ports: one block of them for each folder, found free and remembered."""

import random
import socket
from enum import IntEnum

HOST = "127.0.0.1"
_FIRST, _LAST = 10_240, 32_000  # below what systems hand out by themselves


class Port(IntEnum):
    """Places in the block; Ray's workers have the rest of it, from WORKERS on."""

    POSTGRES = 0
    REDIS = 1
    KAFKA = 2
    GCS = 3
    RAY_CLIENT = 4
    NODE_MANAGER = 5
    OBJECT_MANAGER = 6
    DASHBOARD = 7
    AGENT = 8
    AGENT_GRPC = 9
    METRICS = 10
    RUNTIME_ENV_AGENT = 11
    AUTOSCALER_METRICS = 12
    DASHBOARD_METRICS = 13
    WORKERS = 20


BLOCK = 120


def free_block(remembered: int) -> int:
    """The first port of a block that nobody listens on: the remembered one if it may be, else another."""
    bases = list(range(_FIRST, _LAST - BLOCK, BLOCK))
    random.shuffle(bases)
    if remembered:
        bases.insert(0, remembered)
    return next(base for base in bases if all(is_free(port) for port in range(base, base + BLOCK)))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def replies(port: int, said: bytes, seconds: float = 3.0) -> bool:
    """Whether somebody says anything to `said`: the system accepts connections for a process that hangs, too."""
    try:
        with socket.create_connection((HOST, port), timeout=seconds) as connection:
            connection.sendall(said)
            return bool(connection.recv(1))
    except OSError:
        return False


def answers(port: int) -> bool:
    """Whether somebody accepts a connection."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
