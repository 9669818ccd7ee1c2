"""The stops of a run: which waits each of them ends."""

from __future__ import annotations

from paipa_etl.threads.stop import Stop


class Stops:
    """What ends the waits of one run; each may be set by any thread, more than once."""

    def __init__(self, output: Stop | None = None) -> None:
        self.run = Stop()
        """Ends every wait: the run is over."""
        self.reading = Stop()
        """Ends waits for input only: a run that ends early goes on with what it has."""
        self.finishing = Stop()
        """Heard by live sources: they end when they are empty."""
        self.output = Stop() if output is None else output
        """Ends waits for the store of the output: nothing is going to be published."""

    def behind(self) -> Stops:
        """The stops of the part of a run that follows another part, and ends later."""
        return Stops(self.output)
