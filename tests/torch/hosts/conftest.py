"""What tests of the hosts run under."""

import pytest


@pytest.fixture
def one_thread():
    """One thread of torch's: thousands of small calls gain nothing by more of them."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
