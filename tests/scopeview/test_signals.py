"""Ctrl-C and SIGTERM: one meaning, two exit codes, and a moment that the one who works may choose."""

import os
import signal
from collections.abc import Iterator

import pytest

from scopeview.signals import deferred_stop, pausable, sigterm_as_interrupt


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Who starts a process may have told it to ignore Ctrl-C, as shells do behind `&`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_sigterm_raises_what_ctrl_c_raises_and_is_noted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_as_interrupt() as noted:
        assert noted.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        assert noted.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_the_moment_that_suits(number: signal.Signals) -> None:
    done = list[str]()

    def work() -> None:
        with sigterm_as_interrupt(), deferred_stop() as stop:
            stop.stop_if_asked()
            send(number)
            done.append("the batch under way")
            assert stop.is_asked
            stop.stop_if_asked()
            done.append("the next batch")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the batch under way"]


def test_a_second_signal_is_obeyed_at_once() -> None:
    went_on = list[bool]()

    def work() -> None:
        with deferred_stop():
            send(signal.SIGINT)
            send(signal.SIGINT)
            went_on.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert went_on == []


def test_one_that_was_never_asked_about_is_obeyed_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_stop():
        send(signal.SIGINT)


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
