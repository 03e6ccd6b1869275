"""Formats of incoming events, one file each: from a message to the verb that applies it."""
