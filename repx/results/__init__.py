"""Results of jobs for analysis in Python."""
