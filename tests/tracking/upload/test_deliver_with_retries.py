"""What ends the uploader's loop from outside."""

import signal

from plt_nn.tracking.upload.deliver_with_retries import stop_signals


def test_signals_stop_delivery_and_do_afterwards_what_they_did_before() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        with stop_signals() as stop:
            assert not stop.is_set()
            signal.raise_signal(number)
            assert stop.is_set()
        assert [signal.getsignal(number) for number in numbers] == before
