"""bnexp: see what batch normalization does, unit by unit and step by step."""

__version__ = "0.2.0"
