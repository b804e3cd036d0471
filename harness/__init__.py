"""The engine: races a queue's workers, records what happened, judges the history. No opinion on which queue is tested."""
