"""Publishing the output of a run: what began is finished, what was given up never begins."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from paipa_etl.threads.interrupts import put_off
from paipa_etl.threads.stop import Stopped


class Publication:
    """The state of publishing one output; any thread may look at it."""

    def __init__(self) -> None:
        self.is_going_on = False
        """Whether the output is being published at this moment."""
        self.is_done = False
        """Whether the output is published, whatever is raised afterwards."""
        self._settled: dict[str, bool] = {}

    def give_up(self) -> bool:
        """Never publish; false where publishing has begun, which then goes on."""
        return not self._settle(published=False)

    @property
    def has_begun(self) -> bool:
        """Whether publishing has begun; from then on an interrupt changes nothing."""
        return self._settled.get("published", False)

    @contextmanager
    def publishing(self) -> Generator[None, None, None]:
        """Finish the block, which publishes: an interrupt is raised behind it, a second at once.

        Raises ``Stopped`` where the run was aborted before.
        """
        with put_off():
            if not self._settle(published=True):
                raise Stopped
            self.is_going_on = True
            try:
                yield
                self.is_done = True
            except KeyboardInterrupt as error:
                error.add_note("the output was being published: it may be there")
                raise
            finally:
                self.is_going_on = False

    def _settle(self, *, published: bool) -> bool:
        """Whether the output is published: the first of all threads to say so decides."""
        return self._settled.setdefault("published", published)
