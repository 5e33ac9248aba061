"""Values only: what is wanted, what is seen, what is remembered, and the words for all of it.

Nothing here waits, reads a clock or opens anything; every layer above may import every module here.
"""
