"""kproxy: a self-hosted, OpenAI-compatible routing proxy for language models."""

__all__ = ["__version__"]

__version__ = "0.1.0"
