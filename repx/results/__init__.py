"""Results of jobs for analysis in Python; ``repx_py`` is the public interface."""
