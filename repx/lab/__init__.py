"""Labs on disk: reading, checking, expanding and building them."""
