"""What others want of the run that somebody watches: a line when it is answered, with who asked and what came of it.

It must never say more than the answer does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hostler.model.events import Event, RequestAnswered, RequestMade


class RequestNews:
    """Tells `say` of requests.

    >>> news = RequestNews(print)
    >>> news.saw([RequestMade(at=0.0, request=1, who="ann@web1 (pid 7)", kind="pause")])
    >>> news.saw([RequestAnswered(at=0.0, request=1, done=True, words="paused")])
    hostler: pause, asked for by ann@web1 (pid 7): paused
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._made: dict[int, RequestMade] = {}

    def saw(self, events: Sequence[Event]) -> None:
        """Take in events that have been committed."""
        for event in events:
            if isinstance(event, RequestMade):
                self._made[event.request] = event
            elif isinstance(event, RequestAnswered):
                made = self._made.pop(event.request, None)
                what = f"{made.kind}, asked for by {made.who}" if made else "what was asked for before"
                self._say(f"hostler: {what}: {event.words}")
