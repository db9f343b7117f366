"""Engines over time: what works and what waits for what, as data, as text and as a trace."""

from plena.statistics.timeline.recording import BINS, Timeline, timeline_of

__all__ = ["BINS", "Timeline", "timeline_of"]
