"""The ways to drive a scenario: `race` lets processes loose together, `pairs` gives them turns to be timed."""
