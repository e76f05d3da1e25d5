"""`kproxy` and `python -m kproxy`: argv in, an exit status out."""

from kproxy.cli.root import kproxy

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit: 0 done, 1 refused, 2 wrongly used."""
    kproxy(prog_name="kproxy")


if __name__ == "__main__":
    main()
