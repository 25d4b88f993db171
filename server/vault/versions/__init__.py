"""The vault's migrations, in order."""
