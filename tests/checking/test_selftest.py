"""The self-test, in small: it finds what is planted, and would tell if it did not."""

from fastrnn.checking import selftest
from fastrnn.checking.selftest import PLANTED, SelfTest, self_test


def test_a_small_run_is_clean(monkeypatch):
    monkeypatch.setattr(selftest, "PLANTED", PLANTED[::13])
    seen = []
    result = self_test(lambda *at: seen.append(at), seeds=1, configurations=150)
    assert result.ok, result.table()
    assert result.configurations == 150
    assert seen[-1][0] == seen[-1][1] == len(seen)
    assert "100.00%" in result.table()
    assert "false alarms: 0 in 150" in result.table()


def test_it_notices_a_checker_that_sees_nothing(monkeypatch):
    class Blind:
        ok = True

    monkeypatch.setattr(selftest, "PLANTED", PLANTED[:2])
    monkeypatch.setattr(selftest, "gradcheck", lambda *args, **options: Blind)
    result = self_test(seeds=1, configurations=0)
    assert not result.ok
    assert len(result.missed) == 6
    assert "missed in mode full: rnn, the derivative of tanh forgotten" in result.table()


def test_one_false_alarm_is_too_many():
    assert not SelfTest((1, 1), {"full": 1}, {"full": 1.0}, alarms=["one"]).ok
    assert SelfTest((1, 1), {"full": 1}, {"full": 1.0}).ok
