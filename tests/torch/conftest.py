"""What tests of fastrnn.torch run under, where they ask for it."""

import pytest


@pytest.fixture
def nan_in_new_memory():
    """Fill what torch.empty returns with NaN: whatever is read before it is written shows."""
    torch = pytest.importorskip("torch")
    torch.use_deterministic_algorithms(True)
    assert torch.empty(2).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
