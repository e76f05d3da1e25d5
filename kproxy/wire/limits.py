"""How much of a message we read before we refuse it: numbers in, nothing out.

Body sizes are not here: they belong to who asks for the body.
"""

import dataclasses
from dataclasses import dataclass

__all__ = ["H1Limits"]


@dataclass(frozen=True, slots=True)
class H1Limits:
    """Sizes in bytes, without line ends unless said otherwise; each is the most that is accepted.

    nginx reads lines of 8 KiB, Envoy heads of 60 KiB with 100 fields. Ours lie between: API calls
    carry one long field (the key or a trace state), not cookies.
    """

    request_line: int = 8 * 1024
    field: int = 16 * 1024
    fields: int = 32 * 1024  # all field lines of a head, line ends included
    count: int = 100  # field lines in a head, or in the trailers
    response_head: int = 32 * 1024  # a provider's whole head, line ends included
    chunk_line: int = 256
    chunk_extensions: int = 16 * 1024  # of all chunks of one message together
    trailers: int = 8 * 1024  # all trailer lines, line ends included
    head: int = dataclasses.field(init=False)  # a request's whole head, line ends included
    easy: int = dataclasses.field(init=False)  # a head up to this size cannot break a limit on size

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", self.request_line + self.fields + 4)
        object.__setattr__(self, "easy", min(self.request_line, self.field, self.fields))
