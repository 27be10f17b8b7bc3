"""Thin subclasses of the SDK, and what they drive."""
