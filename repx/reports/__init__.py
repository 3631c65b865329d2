"""What commands tell, as data without a look: computed here, drawn in ``cli`` and ``tui``."""
