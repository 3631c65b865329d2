"""What the user configures: target profiles and resource rules."""
