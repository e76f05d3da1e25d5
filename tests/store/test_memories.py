"""What is remembered, whose it is, how it is found again, and that it can be forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from kproxy.store.database import StoreError
from kproxy.store.memories import Memories, MemoriesParams, Owner, Said

ADA, BOB, OTHER = Owner("acct_1", "ada"), Owner("acct_1", "bob"), Owner("acct_2", "ada")


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    opened = Memories(tmp_path, MemoriesParams(most=3, recalled=2))
    yield opened
    opened.close()


async def keep(memories: Memories, owner: Owner, *texts: str, topic: str | None = None) -> None:
    for at, text in enumerate(texts):
        await memories.recall(owner, [], [Said(text, topic)], at)


async def found(memories: Memories, owner: Owner, *words: str) -> list[str]:
    return list((await memories.recall(owner, words, [], 0)).texts)


def read(directory: Path) -> bytes:
    """Everything in the files of a directory."""
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


async def texts(memories: Memories, account: str, user: str | None = None) -> list[str]:
    page = await memories.page(account, user, 100, None)
    assert page is not None
    return [one.text for one in page.memories]


async def test_what_was_said_is_found_by_its_words(memories: Memories) -> None:
    await keep(memories, ADA, "My name is Ada.", "I prefer green teas.", "I live in Oslo.")
    assert await found(memories, ADA, "name") == ["My name is Ada."]
    assert await found(memories, ADA, "preferred", "tea") == ["I prefer green teas."]
    assert await found(memories, ADA, "coffee") == []
    assert await found(memories, ADA) == []


async def test_the_best_come_first_and_no_more_than_asked_for(memories: Memories) -> None:
    await keep(memories, ADA, "tea with milk", "tea and tea cups", "milk")
    best = await found(memories, ADA, "tea", "milk")
    assert (best[0], len(best)) == ("tea with milk", 2)


async def test_a_question_comes_before_what_it_brings(memories: Memories) -> None:
    recalled = await memories.recall(ADA, ["tea"], [Said("I prefer tea."), Said("x y")], 1)
    assert (recalled.texts, recalled.kept) == ([], 2)
    assert await found(memories, ADA, "tea") == ["I prefer tea."]


async def test_nobody_finds_what_is_anothers(memories: Memories) -> None:
    await keep(memories, ADA, "secret word alpha")
    await keep(memories, BOB, "secret word beta")
    await keep(memories, OTHER, "secret word gamma")
    assert await found(memories, ADA, "secret", "beta", "gamma") == ["secret word alpha"]
    assert await found(memories, OTHER, "word") == ["secret word gamma"]
    assert await found(memories, Owner("acct_1", ""), "secret") == []
    assert await texts(memories, "acct_1") == ["secret word beta", "secret word alpha"]
    assert await texts(memories, "acct_1", "ada") == ["secret word alpha"]
    assert await texts(memories, "acct_3") == []


def test_no_two_owners_are_one() -> None:
    owners = [Owner("a", "bc"), Owner("ab", "c"), Owner("abc", ""), Owner("", "abc")]
    assert len({owner.digest for owner in owners}) == 4


async def test_ten_thousand_questions_of_two_accounts(memories: Memories) -> None:
    """R15 on a small scale: markers of one never reach the other."""
    for number in range(100):
        for owner in (ADA, OTHER):
            mark = f"{owner.account_id} marker {number}"
            said = await memories.recall(owner, ["marker", str(number)], [Said(mark)], number)
            assert all(text.startswith(owner.account_id) for text in said.texts)


async def test_the_oldest_goes_first(memories: Memories) -> None:
    await keep(memories, ADA, "one", "two", "three", "four")
    assert await texts(memories, "acct_1") == ["four", "three", "two"]
    assert await found(memories, ADA, "one") == []
    await keep(memories, BOB, "one")
    assert await found(memories, BOB, "one") == ["one"]


async def test_what_is_said_again_is_newer_and_not_twice(memories: Memories) -> None:
    await keep(memories, ADA, "one", "two", "three")
    await memories.recall(ADA, [], [Said("one")], 9)
    await memories.recall(ADA, [], [Said("four")], 10)
    assert sorted(await texts(memories, "acct_1")) == ["four", "one", "three"]


async def test_of_a_topic_there_is_the_newest(memories: Memories) -> None:
    await keep(memories, ADA, "My name is Ada.", "My name is Eve.", topic="name")
    await keep(memories, BOB, "My name is Bob.", topic="name")
    assert await found(memories, ADA, "name", "ada") == ["My name is Eve."]
    assert await texts(memories, "acct_1") == ["My name is Bob.", "My name is Eve."]


@pytest.mark.parametrize("word", ['"', '" OR owner : "', "NEAR(", "*", "a*", "^", "-", "text:", ""])
async def test_no_word_is_a_command(memories: Memories, word: str) -> None:
    await keep(memories, BOB, "secret")
    assert await found(memories, ADA, word, "secret") == []


async def test_pages(memories: Memories) -> None:
    await keep(memories, ADA, "one", "two", "three")
    first = await memories.page("acct_1", None, 2, None)
    assert first is not None
    assert ([one.text for one in first.memories], first.more) == (["three", "two"], True)
    assert [one.user for one in first.memories] == ["ada", "ada"]
    assert [one.created_at for one in first.memories] == [2, 1]
    second = await memories.page("acct_1", None, 2, first.memories[-1].id)
    assert second is not None
    assert ([one.text for one in second.memories], second.more) == (["one"], False)
    assert await memories.page("acct_2", None, 2, first.memories[-1].id) is None


async def test_one_can_be_forgotten_by_its_account(memories: Memories) -> None:
    await keep(memories, ADA, "one", "two")
    page = await memories.page("acct_1", None, 10, None)
    assert page is not None
    ident = page.memories[0].id
    assert not await memories.forget("acct_2", ident)
    assert await memories.forget("acct_1", ident)
    assert not await memories.forget("acct_1", ident)
    assert await texts(memories, "acct_1") == ["one"]
    assert await found(memories, ADA, "two") == []


async def test_all_can_be_forgotten(memories: Memories) -> None:
    await keep(memories, ADA, "one", "two")
    await keep(memories, BOB, "three")
    await keep(memories, OTHER, "four")
    assert await memories.forget_all("acct_1", "bob") == 1
    assert await memories.forget_all("acct_1", None) == 2
    assert await memories.forget_all("acct_1", None) == 0
    assert await texts(memories, "acct_2") == ["four"]


async def test_what_is_forgotten_is_gone_from_the_file(memories: Memories, tmp_path: Path) -> None:
    await keep(memories, ADA, "my rabbit is called xylophonist")
    await keep(memories, BOB, "something else")
    await memories.forget_all("acct_1", "ada")
    memories.close()
    kept = read(tmp_path)
    assert b"something else" in kept
    assert b"xylophon" not in kept


async def test_it_is_there_for_the_next_process(tmp_path: Path) -> None:
    first, second = (Memories(tmp_path, MemoriesParams()) for _ in range(2))
    await keep(first, ADA, "My name is Ada.")
    assert await found(second, ADA, "name") == ["My name is Ada."]
    first.close()
    second.close()


def test_nothing_is_opened_before_somebody_asks(tmp_path: Path) -> None:
    memories = Memories(tmp_path / "none", MemoriesParams())
    memories.close()
    assert not (tmp_path / "none").exists()


async def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    memories = Memories(tmp_path / "file", MemoriesParams())
    with pytest.raises(StoreError):
        await memories.page("acct_1", None, 1, None)
    memories.close()


async def test_who_waits_too_long_is_told(memories: Memories, autojump_clock: object) -> None:
    async with memories._turn:
        with pytest.raises(StoreError, match="busy"):
            await memories.page("acct_1", None, 1, None)
    assert trio.current_time() == 10
