"""Generated from the contract in proto/ by `make proto`; never edited."""
