"""Signals are noted once and act as usual afterwards."""

import signal
import threading

import pytest

from flax_dynconv.training.interruption import Interrupted, Interruption


def test_the_second_signal_acts_as_before():
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        assert interruption.requested is None
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested == 'SIGINT'
        signal.raise_signal(signal.SIGINT)
        raise AssertionError('the second signal did nothing')


def test_a_handler_of_the_caller_gets_the_second_signal_and_is_put_back():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append('own'))
    own, interrupt = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGTERM)
            assert (interruption.requested, seen) == ('SIGTERM', [])
            signal.raise_signal(signal.SIGTERM)
            assert (interruption.requested, seen) == ('SIGTERM', ['own'])
        assert signal.getsignal(signal.SIGTERM) is own
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_put_back_after_an_exception():
    before = [signal.getsignal(number) for number in Interruption.SIGNALS]
    with pytest.raises(ValueError, match='of the run'), Interruption():
        raise ValueError('of the run')
    assert [signal.getsignal(number) for number in Interruption.SIGNALS] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
        assert interruption.requested is None
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_happens():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def run():
        with Interruption() as interruption:
            found.append((interruption.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(None, before)]


@pytest.mark.parametrize(('name', 'code'), [('SIGTERM', 143), ('SIGINT', 130), ('a signal to another process', 143)])
def test_the_exception_says_how_to_go_on(name, code):
    error = Interrupted(name, 12)
    assert str(error) == f'ended by {name} after step 12; go on with --resume'
    assert (error.signal, error.step, error.exit_code) == (name, 12, code)
