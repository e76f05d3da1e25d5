"""What a pattern took for a card, an account or a telephone goes in; how much of it is one, out.

Each check returns how many bytes from the start belong to it, 0 where it is none. A pattern takes
what looks right; digits that stand behind it (a card's check code, the next column) may look right
too, so the longest part that passes is what counts.
"""

import re
from types import MappingProxyType

__all__ = ["card", "iban", "phone"]

_ENDS = re.compile(rb"[^A-Za-z0-9]|\Z")  # where a group of characters may end

CARD_DIGITS = range(13, 20)  # ISO/IEC 7812-1: at most 19; the shortest in use have 13
PHONE_DIGITS = range(7, 16)  # ITU-T E.164: at most 15

_SEPARATORS = b" -.+()"
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_ZERO, _BIG_A = 48, 65
_CHECKED = 97  # ISO 13616, which takes ISO 7064's MOD 97-10

IBAN_LENGTHS = MappingProxyType({
    b"AD": 24, b"AE": 23, b"AL": 28, b"AT": 20, b"AZ": 28, b"BA": 20, b"BE": 16, b"BG": 22,
    b"BH": 22, b"BI": 27, b"BR": 29, b"BY": 28, b"CH": 21, b"CR": 22, b"CY": 28, b"CZ": 24,
    b"DE": 22, b"DJ": 27, b"DK": 18, b"DO": 28, b"EE": 20, b"EG": 29, b"ES": 24, b"FI": 18,
    b"FK": 18, b"FO": 18, b"FR": 27, b"GB": 22, b"GE": 22, b"GI": 23, b"GL": 18, b"GR": 27,
    b"GT": 28, b"HN": 28, b"HR": 21, b"HU": 28, b"IE": 22, b"IL": 23, b"IQ": 23, b"IS": 26,
    b"IT": 27, b"JO": 30, b"KW": 30, b"KZ": 20, b"LB": 28, b"LC": 32, b"LI": 21, b"LT": 20,
    b"LU": 20, b"LV": 21, b"LY": 25, b"MC": 27, b"MD": 24, b"ME": 22, b"MK": 19, b"MN": 20,
    b"MR": 27, b"MT": 31, b"MU": 30, b"NI": 28, b"NL": 18, b"NO": 15, b"OM": 23, b"PK": 24,
    b"PL": 28, b"PS": 29, b"PT": 25, b"QA": 29, b"RO": 24, b"RS": 22, b"RU": 33, b"SA": 24,
    b"SC": 31, b"SD": 18, b"SE": 24, b"SI": 19, b"SK": 24, b"SM": 27, b"SO": 23, b"ST": 25,
    b"SV": 28, b"TL": 23, b"TN": 24, b"TR": 26, b"UA": 29, b"VA": 22, b"VG": 24, b"XK": 20,
    b"YE": 30,
})  # fmt: skip
"""Characters of an IBAN by country: SWIFT's IBAN registry. Other countries have none."""


def card(found: bytes) -> int:
    """A payment card's number: 13 to 19 digits whose Luhn sum is right (ISO/IEC 7812-1)."""
    for end in _ends(found, CARD_DIGITS.start):
        digits = found[:end].translate(None, _SEPARATORS)
        if len(digits) in CARD_DIGITS and _luhn(digits):
            return end
    return 0


def iban(found: bytes) -> int:
    """An International Bank Account Number, with or without spaces, its remainder right."""
    wanted = IBAN_LENGTHS.get(found[:2])
    for end in _ends(found, wanted or len(found)):
        text = found[:end].replace(b" ", b"")
        if len(text) == wanted and _remainder(text[4:] + text[:4]) == 1:
            return end
    return 0


def phone(found: bytes) -> int:
    """A telephone number: 7 to 15 digits. There is no sum to check."""
    for end in _ends(found, PHONE_DIGITS.start):
        if len(found[:end].translate(None, _SEPARATORS)) in PHONE_DIGITS:
            return end
    return 0


def _ends(found: bytes, least: int) -> list[int]:
    """Where a group ends, the last first; no end before `least` bytes."""
    return [match.start() for match in _ENDS.finditer(found, least)][::-1]


def _luhn(digits: bytes) -> bool:
    """Every second digit from the right counts double, and its own two digits are summed."""
    plain, doubled = digits[-1::-2], digits[-2::-2].translate(_DOUBLED)
    return (sum(plain) - _ZERO * len(plain) + sum(doubled)) % 10 == 0


def _remainder(text: bytes) -> int:
    """Letters count from A = 10."""
    number = "".join(str(byte - _ZERO if byte < _BIG_A else byte - _BIG_A + 10) for byte in text)
    return int(number) % _CHECKED
