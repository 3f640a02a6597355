"""Targets a user of `fastrnn gradcheck` may name, right and wrong; copied, not imported."""

import numpy as np


def right(x, y):
    return x * y, lambda d: (d * y, d * x)


right.inputs = (np.array([0.5, 2.0]), np.array([3.0, -1.0]))


def wrong(x, y):
    return x * y, lambda d: (d * y, 1.01 * d * x)


def wrong_inputs():
    return np.array([0.5, 2.0]), np.array([3.0, -1.0])


pair = (np.sin, lambda x, d: d * np.cos(x))
pair_inputs = np.array([0.5, 2.0])


class Holder:
    step = staticmethod(right)


def bare(x):
    return x


def not_a_pair(x):
    return x


not_a_pair.inputs = np.ones(3)


def raises(x):
    raise KeyError("why")


raises.inputs = np.ones(3)


def leaves(x):
    raise SystemExit(0)


leaves.inputs = np.ones(3)


def two_lines(x):
    def pullback(d):
        raise RuntimeError("one\ntwo")

    return x, pullback


two_lines.inputs = np.ones(3)


def prints(x):
    print("from the function")
    return 2 * x, lambda d: 2 * d


prints.inputs = np.ones(3)

random_numbers = np.random.default_rng(0)


def random(x):
    return x + random_numbers.random(3), lambda d: d


random.inputs = np.ones(3)


def not_finite(x):
    return x * np.nan, lambda d: d * np.nan


not_finite.inputs = np.ones(3)


def no_inputs_come(x):
    return x


def no_inputs_come_inputs():
    raise ZeroDivisionError


def of_a_list(x):
    return x


of_a_list.inputs = "x"
number = 3
