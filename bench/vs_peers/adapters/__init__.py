"""One module per library with a class `Adapter`; the interface is in adapter.py."""
