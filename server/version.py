"""The version of Convergio Voice."""

__version__ = "0.1.0"
