"""Single values that stand in files of more than one form, and what is wrong with them.

A fault is told in words, for the reader of the form to put a place before. Nothing here opens a file.
"""

from __future__ import annotations

import re

from hostler.model.hosts import NAME, USER
from hostler.model.nodesets import Unreadable
from hostler.model.terms import TAG, Names, read_terms

NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
#: What a variable may be called.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def text_fault(text: str) -> str:
    """Why a text is none that an argument or a file could hold: escapes can write such."""
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        return "not a text that a host could be given"
    return ""


def user_fault(text: str) -> str:
    """Why a text is no login name."""
    return "" if USER.fullmatch(text) and len(text) <= 8192 else "not a login name"


def number_fault(text: str, least: int, most: int) -> str:
    """Why a text is no whole number between two others.

    >>> number_fault("70000", 1, 65535)
    'must be a whole number from 1 to 65535'
    """
    if NUMBER.fullmatch(text) and least <= int(text) <= most:
        return ""
    return f"must be a whole number from {least} to {most}"


def address_fault(text: str) -> str:
    """Why a text is no host's address."""
    return (
        ""
        if NAME.match(text) and len(text) <= 255
        else "letters, digits and . _ : - only, and no more than 255"
    )


def name_fault(text: str) -> str:
    """Why a text is no host's name, where sets of names are none.

    >>> name_fault("web1"), name_fault("web[1-2]")
    ('', 'one name, no set of names')
    """
    return "one name, no set of names" if "[" in text or "]" in text else address_fault(text)


def jump_fault(text: str) -> str:
    """Why a text is no host, or several behind each other, to go through.

    >>> jump_fault("ann@gate:2222,inner"), jump_fault("web[1-2]")
    ('', 'one [user@]host[:port], or several with commas')
    """
    try:
        terms = read_terms(text)
    except Unreadable as wrong:
        return wrong.why
    for term in terms:
        if term.sign != "," or not isinstance(term.atom, Names) or len(term.atom.pattern) != 1:
            return "one [user@]host[:port], or several with commas"
    return ""


def tag_fault(text: str) -> str:
    """Why a text can't be a tag, or a group's name."""
    if text == "last":
        return "is taken: @last is the last run"
    return "" if TAG.fullmatch(text) else "letters, digits and . _ - only"
