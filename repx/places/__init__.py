"""Where jobs run and their files lie."""
