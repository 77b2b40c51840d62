"""Published tables and figures, from the files of a bundle alone."""
