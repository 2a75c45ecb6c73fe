"""The name of a store that isn't the state folder's own: a postgresql:// URL, and what of it may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from msgspec import Struct

from hostler.errors import UsageError

SCHEMES = ("postgresql", "postgres")
#: What stands in a URL's query and is no secret.
_SHOWN = ("host", "hostaddr", "port", "dbname", "user", "service", "options", "sslmode")


class StoreUrl(Struct, frozen=True):
    """Where a store is, as the driver is told; `shown` is what people are told, without any password.

    >>> StoreUrl.parse("postgresql://ann:secret@db.example/fleet?sslmode=require&password=x").shown
    'postgresql://ann@db.example/fleet?sslmode=require'
    """

    text: str
    shown: str
    secret: bool = False

    def __repr__(self) -> str:
        return f"StoreUrl({self.shown!r})"

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """Read a URL. Raises UsageError, which shows nothing of it: who knows what it holds."""
        scheme, colon, rest = text.partition("://")
        if not colon or scheme not in SCHEMES:
            raise UsageError(
                "a store is named by postgresql://[USER@]HOST[:PORT]/DATABASE; "
                "without one it is in the state folder"
            )
        if "\0" in text or any(ord(each) < 32 for each in text):
            raise UsageError("the store's URL holds a control character")
        try:
            parts = urlsplit("//" + rest)
            query = parse_qsl(parts.query, keep_blank_values=True)
        except ValueError:
            raise UsageError("the store's URL can't be read; write special characters as %XX") from None
        user, at, place = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        told = [(key, value) for key, value in query if key in _SHOWN]
        shown = f"postgresql://{name}{at}{place}{parts.path}"
        if told:
            shown += "?" + urlencode(told, safe="/,", quote_via=quote)
        hidden = any(key in ("password", "sslpassword") for key, _ in query)
        return cls(text, shown, secret=bool(colon) or hidden)


def shown(text: str) -> str:
    """A store's URL without what is secret in it; of what is none nothing."""
    try:
        return StoreUrl.parse(text).shown
    except UsageError:
        return "[hidden]"
