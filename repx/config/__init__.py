"""The user's configuration: target profiles and resource rules."""
