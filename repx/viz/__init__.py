"""A Lab as a picture: ``drawing`` makes its contents, ``dot`` and ``mermaid`` write it."""
