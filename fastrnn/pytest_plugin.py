"""What pytest loads of this package at every start: the fixture `gradcheck`, and nothing else.

So it imports nothing but pytest; the package itself is loaded by the first test that asks for the
fixture. `pytest -p no:fastrnn` leaves it out.
"""

import pytest


@pytest.fixture(scope="session")  # it keeps nothing, and so may go wherever a test wants it
def gradcheck():
    """`fastrnn.gradcheck(target, inputs)`: a gradient that is wrong fails the test with a report.

    Example:
        def test_square(gradcheck):
            gradcheck(lambda x: (x * x, lambda d: 2 * x * d), np.array([1.0, 2.0]))
    """
    import fastrnn

    return fastrnn.gradcheck
