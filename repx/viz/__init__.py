"""A Lab as a picture: ``drawing`` says what is in it, ``dot`` and ``mermaid`` write it."""
