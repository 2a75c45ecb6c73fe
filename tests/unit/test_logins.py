"""What a login is told when it asks: each secret once, to whom it is meant for, and never in print."""

from __future__ import annotations

import copy
import pickle

import pytest

from hostler.model.secrets import Secret
from hostler.transports.logins import Answers, Secrets

BOTH = Secrets(password=Secret("open sesame"), passphrase=Secret("key word"))
NAMES = frozenset({"web1", "10.0.0.5"})


def test_a_secret_is_given_once() -> None:
    answers = Answers(BOTH, NAMES)
    assert answers.question("me@web1's password: ") == "open sesame"
    assert answers.question("(me@web1) Password: ") is None
    assert answers.account() == "; the password was not accepted"
    refusal = answers.refusal("me@web1", "no key to try")
    assert refusal == "the password was not accepted for me@web1; no key to try"


def test_the_passphrase_is_given_once_for_each_key_and_never_for_a_password() -> None:
    answers = Answers(BOTH, NAMES)
    for _ in range(2):
        for key in ("/home/me/.ssh/id_rsa", "/home/me/password"):
            assert answers.question(f"Enter passphrase for key '{key}': ") in ("key word", None)
    only = Answers(Secrets(password=Secret("open sesame")))
    assert only.question("Enter passphrase for key '/home/me/password': ") is None


@pytest.mark.parametrize("name", ["gate", "web10", "web1.evil"])
def test_a_question_in_the_name_of_another_host_is_not_answered(name: str) -> None:
    for question in (f"me@{name}'s password: ", f"(me@{name}) Password: "):
        assert Answers(BOTH, NAMES).question(question) is None
    assert Answers(BOTH, NAMES).question("(me@10.0.0.5) Password: ") == "open sesame"


@pytest.mark.parametrize(
    "question", ["Verification code: ", "Are you sure (yes/no)? ", "PIN for token: ", ""]
)
def test_other_questions_are_not_answered_and_told(question: str) -> None:
    answers = Answers(BOTH, NAMES)
    assert answers.question(question) is None
    assert answers.questions(["Password: ", question]) is None
    assert "hostler can't answer" in answers.account() or "not accepted" in answers.account()


def test_what_a_host_would_take_is_told_when_nothing_was_given() -> None:
    without = Answers(Secrets())
    assert without.account("publickey") == ""
    assert without.account("publickey,password") == "; it would take a password (--ssh-password)"
    assert without.questions([]) == []


def test_a_secret_is_neither_shown_nor_pickled_nor_copied() -> None:
    assert "sesame" not in f"{BOTH} {BOTH.password} {BOTH!r} {BOTH.password!r}"
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            way(BOTH.password)
