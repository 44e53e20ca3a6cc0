"""Ctrl-C while a step is under way."""

import os
import signal

import pytest

from indexer.training.interrupts import pausable


def test_ctrl_c_is_remembered_and_interrupts_nothing() -> None:
    with pausable() as asked:
        before = asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert (before, asked()) == (False, True)


def test_a_second_ctrl_c_interrupts() -> None:
    with pausable():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pausable():
        pass
    assert signal.getsignal(signal.SIGINT) is before
