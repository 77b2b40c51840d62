"""serbench: hyperparameter search and benchmarks for speech emotion recognition."""

__version__ = "0.1.0"
