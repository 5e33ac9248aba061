"""Liveness: a dispatcher that looks for work and no pass that runs for ever; feeds `/healthz` and systemd's watchdog."""

from cpcd.loop.dispatcher import Pulse

__all__ = ["unhealthy"]

BEAT = 30.0  # seconds without a beat: the dispatcher hangs, or the event loop is blocked
LONGEST = 600.0  # seconds: a pass has ended by 480 s, whoever is slow (`runner.py`); beyond it, cpcd itself hangs


def unhealthy(pulse: Pulse, now: float) -> str:
    """Return why the loop is not live, "" when it is."""
    if now - pulse.beat > BEAT:
        return f"the dispatcher has not beaten for {now - pulse.beat:.0f} s"
    stuck = [(key, now - began) for key, began in pulse.running.items() if now - began > LONGEST]
    return f"a pass over {stuck[0][0]} runs for {stuck[0][1]:.0f} s" if stuck else ""
