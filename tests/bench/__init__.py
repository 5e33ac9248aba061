"""Figures of speed and size: `make bench` measures them, no test asserts them."""
