"""What failed in a run: the first failure first, and the one that the caller sees."""

from __future__ import annotations

from paipa_etl.errors import describe


class FailureList:
    """The failures of one run, in the order of time."""

    def __init__(self) -> None:
        self.all: list[BaseException] = []
        self._raised: BaseException | None = None

    def __len__(self) -> int:
        return len(self.all)

    @property
    def first(self) -> BaseException | None:
        """The first failure; None while nothing has failed."""
        return self.all[0] if self.all else None

    def add(self, error: BaseException) -> None:
        """Note a failure."""
        self.all.append(error)

    def is_known(self, error: BaseException) -> bool:
        """Whether a failure was noted already."""
        return any(error is known for known in self.all)

    def note_raised(self, error: BaseException) -> None:
        """Note which of them the caller sees as itself."""
        self._raised = error

    def others(self) -> list[str]:
        """Descriptions of those that the caller does not see."""
        return [describe(error) for error in self.all if error is not self._raised]
