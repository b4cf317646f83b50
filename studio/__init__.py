"""harrier-studio: curate retrieval pairs, see the exact prompts, export with an audit."""

__version__ = "0.1.0"
