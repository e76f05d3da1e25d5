"""Checksums on published test numbers, and on what only looks like them."""

import pytest

from kproxy.guard.checksums import IBAN_LENGTHS, card, iban, phone

CARDS = [  # test numbers that card networks and processors publish
    "4111111111111111", "4012888888881881", "4222222222222", "5555555555554444", "2223003122003222",
    "378282246310005", "30569309025904", "6011111111111117", "3566002020360505",
    "6304000000000000", "4111 1111 1111 1111", "5555-5555-5555-4444", "3782 822463 10005",
]  # fmt: skip
IBANS = [  # examples of the registry
    "DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606",
    "CH9300762011623852957", "NO9386011117947", "MT84MALT011000012345MTLCAST001S",
    "DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19",
]  # fmt: skip


@pytest.mark.parametrize("text", CARDS)
def test_a_card_is_one_and_with_another_digit_it_is_none(text: str) -> None:
    assert card(text.encode()) == len(text)
    wrong = text[:-1] + str((int(text[-1]) + 1) % 10)
    assert card(wrong.encode()) == 0


def test_of_a_card_and_its_check_code_the_card_counts() -> None:
    assert card(b"5555 5555 5555 4444 12") == len("5555 5555 5555 4444")


@pytest.mark.parametrize("text", IBANS)
def test_an_iban_is_one_and_with_two_characters_swapped_it_is_none(text: str) -> None:
    assert iban(text.encode()) == len(text)
    at = next(at for at in range(4, len(text)) if text[at : at + 2].strip()[:1] != text[at + 1])
    swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    assert iban(swapped.encode()) == 0


def test_what_stands_behind_an_iban_does_not_belong_to_it() -> None:
    assert iban(b"DE89 3704 0044 0532 0130 00 EUR") == len("DE89 3704 0044 0532 0130 00")


def test_a_country_without_ibans_has_none() -> None:
    assert b"US" not in IBAN_LENGTHS
    assert iban(b"US89370400440532013000") == 0


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("+49 30 1234567", 14),
        ("+1 (212) 555-0123", 17),
        ("(212) 555-0123", 14),
        ("+1 2", 0),
        ("+49 30 12345 12345 12345 1", 18),  # 15 digits at most
    ],
)
def test_a_telephone_number_has_seven_to_fifteen_digits(text: str, counted: int) -> None:
    assert phone(text.encode()) == counted
