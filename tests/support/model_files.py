"""What is in a model file, and how tests damage one."""

import pytest

safetensors = pytest.importorskip("safetensors.numpy")


def contents(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def assert_same_file(got, expected):
    (tensors, metadata), (wanted, wanted_metadata) = contents(got), contents(expected)
    assert metadata == wanted_metadata
    assert tensors.keys() == wanted.keys()
    for name in wanted:
        assert tensors[name].dtype == wanted[name].dtype, name
        assert tensors[name].tobytes() == wanted[name].tobytes(), name


def rewrite(path, tensors=None, metadata=None):
    """Change a model file; None removes an entry. What is left has no checksum."""
    for old, new in zip(parts := contents(path), (tensors or {}, metadata or {}), strict=True):
        old.update(new)
        for name in [name for name, value in old.items() if value is None]:
            del old[name]
    parts[1].pop("checksum", None)
    path.write_bytes(safetensors.save(*parts))
