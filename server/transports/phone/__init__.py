"""Telephone calls that come as media streams: who may open them, and the legs they become."""
