"""Results of jobs for analysis in Python; ``repx_py`` is the face of this room."""
