"""The fence: a serial that the spool has seen is never started again, whatever is sent again.

One that was given back, or dropped before it began, is as if never seen; only the former never begins here.
"""

from collections import deque

#: What is known of a serial that has not been started, or is forgotten.
UNKNOWN, WAITING, GONE = 0, 1, 4


class Fence:
    """Starts that wait, in their order, and all that must be known of serials to let none through twice.

    `high` is the highest serial that was seen.
    """

    def __init__(self, high: int) -> None:
        self.high = high
        self.waiting = {}  # type: dict[int, tuple[int, int, int, tuple[bytes, ...], bool, float]]
        self.order = deque()  # type: deque[int]
        self.unseen = set()  # type: set[int]
        self.barred = set()  # type: set[int]

    def standing(self, serial: int) -> int:
        """What is known of a serial that neither runs nor has a result here."""
        if serial in self.waiting:
            return WAITING
        return UNKNOWN if serial > self.high or serial in self.unseen or serial in self.barred else GONE

    def admit(self, start: "tuple[int, int, int, tuple[bytes, ...], bool, float]") -> bool:
        """Let a start wait, if its serial was never seen."""
        serial = start[0]
        if serial <= self.high and serial not in self.unseen:
            return False
        self.unseen.discard(serial)
        self.high = max(self.high, serial)
        self.waiting[serial] = start
        self.order.append(serial)
        return True

    def bar(self, serial: int) -> None:
        """See that a serial is never started here."""
        self.waiting.pop(serial, None)
        self.unseen.discard(serial)
        self.barred.add(serial)

    def next(self, count: int) -> "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]":
        """Take so many of the starts that wait, in their order."""
        chosen = []  # type: list[tuple[int, int, int, tuple[bytes, ...], bool, float]]
        while self.order and len(chosen) < count:
            start = self.waiting.pop(self.order.popleft(), None)
            if start is not None:
                chosen.append(start)
        return chosen

    def drop(self) -> None:
        """What waits is as if never seen."""
        self.unseen.update(self.waiting)
        self.waiting.clear()
        self.order.clear()
