"""Which providers there are, from the file's tables and the environment."""

import pytest

from kproxy.admission.keys import Secret
from kproxy.config import ProviderConfig
from kproxy.config.document import PlacedError
from kproxy.config.providers import WELL_KNOWN, complete, from_environment, simulated, spoken

CANARY = "sk-canary"


def refused(slug, provider, environ=None):
    with pytest.raises(PlacedError) as caught:
        complete(slug, provider, environ or {})
    assert "canary" not in str(caught.value)
    return caught.value.steps, caught.value.reason


def test_nobody_configured_means_the_seeds_five_played():
    assert list(simulated()) == ["openai", "anthropic", "xai", "deepseek", "minimax"]
    assert {provider.dialect for provider in simulated().values()} == {"sim"}
    assert from_environment({}) == {}


@pytest.mark.parametrize("known", WELL_KNOWN, ids=lambda known: known.slug)
def test_each_usual_variable_brings_its_provider_and_no_other(known):
    for variable in known.key_variables:
        found = from_environment({variable: f" {CANARY}\n"})
        assert list(found) == [known.slug]
        assert found[known.slug].base_url == known.base_url
        assert found[known.slug].api_key.reveal() == CANARY
        usual = "anthropic" if known.slug == "anthropic" else "openai"
        assert found[known.slug].dialect == usual
        assert "canary" not in repr(found)


def test_the_five_of_the_contract_are_well_known():
    variables = {name for known in WELL_KNOWN for name in known.key_variables}
    assert variables >= {
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "XAI_API_KEY",
        "DEEPSEEK_API_KEY",
        "MINIMAX_API_KEY",
    }
    assert len({known.slug for known in WELL_KNOWN}) == len(WELL_KNOWN)


@pytest.mark.parametrize(
    ("slug", "given", "dialect"),
    [
        ("anthropic", ProviderConfig(), "anthropic"),
        ("anthropic", ProviderConfig(dialect="openai"), "openai"),
        ("anthropic", ProviderConfig(base_url="http://h/v1"), "openai"),
        ("acme", ProviderConfig(base_url="http://h/v1"), "openai"),
        ("acme", ProviderConfig(base_url="http://h/v1", dialect="anthropic"), "anthropic"),
    ],
)
def test_a_usual_provider_speaks_its_own_at_its_usual_address(slug, given, dialect):
    assert complete(slug, given, {"ANTHROPIC_API_KEY": CANARY}).dialect == dialect


def test_what_is_spoken_by_name():
    sim, own = ProviderConfig(dialect="sim"), ProviderConfig(dialect="openai")
    assert spoken("anthropic", sim) == "anthropic"
    assert spoken("anthropic", own) == spoken("acme", sim) == spoken("openai", sim) == "openai"


def test_an_empty_variable_is_no_key():
    assert from_environment({"OPENAI_API_KEY": " "}) == {}


def test_the_usual_base_url_variable_counts():
    environ = {"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1/"}
    assert from_environment(environ)["openai"].base_url == "http://127.0.0.1:1/v1"
    with pytest.raises(PlacedError) as caught:
        from_environment({"OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": "nonsense"})
    assert caught.value.steps == ("OPENAI_BASE_URL",)


def test_a_variable_that_holds_no_key_is_named_and_not_repeated():
    with pytest.raises(PlacedError) as caught:
        from_environment({"XAI_API_KEY": "canary\r\nx: y"})
    assert caught.value.steps == ("XAI_API_KEY",)
    assert "canary" not in str(caught.value)


def test_a_table_of_ones_own():
    given = ProviderConfig(base_url="http://127.0.0.1:9000/v1/", api_key=Secret(CANARY))
    found = complete("acme", given, {})
    assert found.base_url == "http://127.0.0.1:9000/v1"
    assert found.api_key.reveal() == CANARY
    assert complete("acme", ProviderConfig(base_url="http://h"), {}).api_key is None


def test_an_empty_table_of_a_well_known_provider_takes_what_is_usual():
    found = complete("openai", ProviderConfig(), {"OPENAI_API_KEY": CANARY})
    assert (found.base_url, found.api_key.reveal()) == ("https://api.openai.com/v1", CANARY)
    own = complete("openai", ProviderConfig(api_key=Secret("own")), {"OPENAI_API_KEY": CANARY})
    assert own.api_key.reveal() == "own"


def test_a_key_of_the_environment_never_goes_to_another_address():
    given = ProviderConfig(base_url="http://elsewhere/v1")
    assert complete("openai", given, {"OPENAI_API_KEY": CANARY}).api_key is None


def test_a_played_provider():
    assert complete("openai", ProviderConfig(dialect="sim"), {"OPENAI_API_KEY": CANARY}) == (
        ProviderConfig(dialect="sim")
    )
    for field, value in (("base_url", "http://h"), ("api_key", Secret(CANARY))):
        given = ProviderConfig(dialect="sim", **{field: value})
        assert refused("x", given) == (("providers", "x", field), "a simulated provider has none")


def test_http_2_is_offered_over_tls_alone():
    assert not complete("openai", ProviderConfig(), {"OPENAI_API_KEY": CANARY}).http2
    usual = ProviderConfig(http2=True)
    assert complete("openai", usual, {"OPENAI_API_KEY": CANARY}).http2
    assert complete("acme", ProviderConfig(base_url="https://h/v1", http2=True), {}).http2
    steps = ("providers", "acme", "http2")
    plain = ProviderConfig(base_url="http://h/v1", http2=True)
    assert refused("acme", plain) == (steps, "needs TLS: an https:// base_url")
    played = ProviderConfig(dialect="sim", http2=True)
    assert refused("acme", played) == (steps, "a simulated provider has no TLS")


@pytest.mark.parametrize(
    ("slug", "given", "steps", "reason"),
    [
        ("Acme", ProviderConfig(), ("providers", "Acme"), "lower-case"),
        ("acme", ProviderConfig(), ("providers", "acme"), "base_url is missing"),
        ("openai", ProviderConfig(), ("providers", "openai"), "OPENAI_API_KEY is not set"),
        ("google", ProviderConfig(), ("providers", "google"), "GEMINI_API_KEY or GOOGLE_API_KEY"),
        (
            "acme",
            ProviderConfig(dialect="gemini"),
            ("providers", "acme", "dialect"),
            "must be",
        ),
        (
            "acme",
            ProviderConfig(base_url="http://u:canary@h"),
            ("providers", "acme", "base_url"),
            "credentials",
        ),
    ],
)
def test_what_is_refused_and_where(slug, given, steps, reason):
    found, said = refused(slug, given)
    assert found == steps
    assert reason in said
