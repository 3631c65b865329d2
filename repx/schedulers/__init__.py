"""The schedulers a target profile can name."""
