"""Mutation testing of `cpcd/plan` and `cpcd/loop`: does a test fail when a decision is another one.

`make mutants N=300 SEED=1` runs it. `operators.py` says what is changed, `live.py` puts a change into the running
interpreter of a forked child, `runner.py` runs the tests that reach it, `report.py` writes docs/mutants.*.

Why not a tool: mutmut leaves out properties and module values, where guards and limits stand, and changes sentences,
which nobody should assert word by word; cosmic-ray changes files in place, starts pytest anew for each mutant, and has
no seeded sample. Here a mutant costs the time of the tests that reach it.
"""
