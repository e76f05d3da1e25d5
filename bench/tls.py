"""Makes what the TLS cells need: certificates for `localhost`, and a provider that speaks TLS.

The provider is nginx that ends TLS in front of a simulated one, the same for whoever is measured:
TLS 1.2 or 1.3, HTTP/1.1, connections kept on both sides. Its CPU is the provider's, not the
target's. The certificates are of an authority of this run alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.configs import Place, Upstream, nginx_command
from bench.processes import Server, Usage

__all__ = [
    "Certificate",
    "Together",
    "can_make",
    "front_command",
    "make_certificate",
    "nginx_tls",
]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files: the chain, its key, and the authority that vouches for it."""

    chain: Path
    key: Path
    ca: Path


def can_make() -> bool:
    """Whether trustme, which the extra `dev` has, is installed."""
    return find_spec("trustme") is not None


def make_certificate(folder: Path) -> Certificate:
    """For `localhost` and 127.0.0.1, written to `folder`."""
    import trustme  # only where TLS is measured

    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "ca.pem")
    authority.cert_pem.write_to_path(str(made.ca))
    issued.private_key_pem.write_to_path(str(made.key))
    for place, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(made.chain), append=place > 0)
    return made


def front_command(
    scratch: Path, sims: Mapping[str, Upstream], made: Certificate
) -> tuple[list[str], dict[str, Place]]:
    """nginx that speaks TLS with a port per simulated provider."""
    folder = scratch / "tls-front"
    folder.mkdir()
    return nginx_command(folder, sims, listen=f"ssl; {nginx_tls(made)}")


def nginx_tls(made: Certificate) -> str:
    """The directives of a server that shows this certificate, without the last semicolon."""
    files = f"ssl_certificate {made.chain}; ssl_certificate_key {made.key}"
    return f"{files}; ssl_protocols TLSv1.2 TLSv1.3"


class Together:
    """Servers that are charged as one."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers

    def follow(self) -> None:
        """Counts the processes that there are now."""
        for server in self._servers:
            server.follow()

    def usage(self) -> Usage:
        """The sum."""
        used = [server.usage() for server in self._servers]
        return Usage(sum(one.cpu for one in used), sum(one.rss for one in used))

    def check(self) -> None:
        """Raises BenchError when one has ended."""
        for server in self._servers:
            server.check()
