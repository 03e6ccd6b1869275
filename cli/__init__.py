"""The `atp` command, for people: starts everything, asks and shows. May use both faces."""
