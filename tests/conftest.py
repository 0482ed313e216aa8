"""Makes the helper modules in this folder importable from the tests below it, too."""
