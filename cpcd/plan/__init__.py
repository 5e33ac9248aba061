"""Pure decisions: what to do next, from a view alone.

Nothing here waits, reads a clock, draws a random number or imports a third party. `fleet` decides which machines
there are, `provision`, `prepare`, `member`, `upkeep` and `retire` what happens to one of them.
"""
