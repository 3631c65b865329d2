"""Reports of commands as data: computed here, displayed by ``repx.cli``."""
