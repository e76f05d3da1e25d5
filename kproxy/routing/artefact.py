"""A router's file: its category table and its weights in, bytes out, and back with every check.

    8 bytes   KPROUTER
    2 bytes   version, little-endian as all numbers
    4 bytes   length of the table
    4 bytes   length of the weights
    32 bytes  SHA-256 of all that follows
    8 bytes   scale of the weights, a float
    the table as JSON
    VOCABULARY bytes, 1 where training has seen a word
    the weights (`lanes.py`): ROWS rows of one column per category and a last one with the square
    of the word's rarity, in steps of RARITY_STEP

What is cut, damaged, of another version or no artefact at all is refused by that name.
"""

import hashlib
import math
import struct

import msgspec

from kproxy.errors import KproxyError
from kproxy.routing.features import ROWS, VOCABULARY
from kproxy.routing.lanes import Buffer
from kproxy.routing.table import CategoryTable, decode_table, encode_table

__all__ = ["RARITY_STEP", "VERSION", "Artefact", "ArtefactError", "pack", "unpack"]

VERSION = 1

RARITY_STEP = 1 / 128
"""Of a squared inverse document frequency, whose largest is then 255: enough for any corpus."""

_MAGIC = b"KPROUTER"
_HEAD = struct.Struct("<8sHII32s")
_SCALE = struct.Struct("<d")


class ArtefactError(KproxyError):
    """The bytes are no artefact that this kproxy can use; the message says why."""


class Artefact(msgspec.Struct, frozen=True):
    """What a file holds. `digest` names it, table included: an edited table is another policy.

    `weights` may be a view of the file's bytes.
    """

    table: CategoryTable
    scale: float
    vocabulary: bytes
    weights: Buffer
    digest: str


def pack(table: CategoryTable, scale: float, vocabulary: bytes, weights: Buffer) -> bytes:
    """The file. The same values give the same bytes."""
    text = encode_table(table)
    rest = _SCALE.pack(scale) + text + vocabulary + weights
    digest = hashlib.sha256(rest).digest()
    return _HEAD.pack(_MAGIC, VERSION, len(text), len(weights), digest) + rest


def unpack(data: Buffer) -> Artefact:
    """Check and take apart. Raises ArtefactError. The weights stay where they are, as a view."""
    data = memoryview(data)
    if data[:8] != _MAGIC[: len(data)] or not data:
        raise ArtefactError("not a kproxy router artefact")
    if len(data) < _HEAD.size:
        raise ArtefactError("the artefact is cut: its head is not whole")
    _, version, text_length, weights_length, digest = _HEAD.unpack_from(data)
    if version != VERSION:
        raise ArtefactError(f"an artefact of version {version}; this kproxy reads {VERSION}")
    rest = data[_HEAD.size :]
    wanted = _SCALE.size + text_length + VOCABULARY + weights_length
    if len(rest) < wanted:
        raise ArtefactError(f"the artefact is cut: {len(rest)} of {wanted} bytes after its head")
    if hashlib.sha256(rest).digest() != digest:
        raise ArtefactError("the artefact is damaged: its digest is another")
    scale: float = _SCALE.unpack_from(rest)[0]
    end = _SCALE.size + text_length
    try:
        table = decode_table(bytes(rest[_SCALE.size : end]))
    except ValueError as error:
        raise ArtefactError(f"the artefact's table is wrong: {error}") from error
    if not (0 < scale < math.inf) or weights_length != 2 * ROWS * (len(table.categories) + 1):
        raise ArtefactError("the artefact's weights do not fit its table")
    words = bytes(rest[end : end + VOCABULARY])
    return Artefact(table, scale, words, rest[-weights_length:], digest.hex())
