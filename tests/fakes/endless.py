"""Work that never ends, for another process to be given: it must be importable there."""

__all__ = ["endless"]


def endless(*given: object) -> None:
    """Holds its interpreter for ever."""
    while True:
        pass
