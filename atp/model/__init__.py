"""The specification: pure functions and structs that say what every verb does; the Lua scripts are tested against it."""
