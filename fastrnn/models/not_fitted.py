"""The error of a model that has not been fitted: this package's, and scikit-learn's where it is."""

import functools


class NotFittedError(ValueError, AttributeError):
    """A model was used before `fit`; where scikit-learn is installed, its NotFittedError too."""

    def __reduce__(self):
        return not_fitted, (str(self),)  # the class of both has no name to be found by


def not_fitted(message: str) -> NotFittedError:
    """Return the error, which both `except` clauses catch.

    Args:
        message: what is wrong.
    """
    return _both()(message)


@functools.cache
def _both() -> type[NotFittedError]:
    try:
        from sklearn import exceptions
    except ImportError:
        return NotFittedError
    return type("NotFittedError", (NotFittedError, exceptions.NotFittedError), {})
