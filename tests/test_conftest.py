"""The guard that keeps tests off the network."""

import socket

import pytest

from tests.conftest import is_loopback


@pytest.mark.parametrize("address", [("127.0.0.1", 80), ("localhost", 80), ("::1", 80, 0, 0), "/run/socket"])
def test_this_machine_may_be_reached(address: object) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80), ("2001:db8::1", 80, 0, 0)])
def test_other_machines_may_not(address: object) -> None:
    assert not is_loopback(address)


def test_a_connection_to_another_machine_fails_the_test() -> None:
    with socket.socket() as outward, pytest.raises(RuntimeError, match="loopback only"):
        outward.connect(("192.0.2.1", 80))
