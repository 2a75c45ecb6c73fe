"""Why an account could not become another one through sudo, in a person's terms, and what mends it.

Pure: it judges sudo's own words. It must never send anybody to give an account more than it needs.
"""

from __future__ import annotations

from hostler.model.checkups import Finding, Told

#: What sudo's refusal holds, what that means, what mends it. The first that fits holds.
REASONS = (
    ("did not take the password", "sudo asks for the password of {login}, which logs in, not of {user}",
     "try it by hand on the host: sudo -u {user} true; then say it by --as-password ask"),
    ("must have a tty", "sudo wants a terminal there (requiretty), and hostler opens none for this",
     "on the host, by visudo: Defaults:{login} !requiretty"),
    ("password is required", "sudo asks {login} for a password, or doesn't let it be {user} at all",
     "give the password: --as-password ask; or on the host, by visudo: {login} ALL=({user}) NOPASSWD: ALL"),
    ("unknown user", "the host has no such account", "make it there: useradd -m {user}; or name another: --as USER"),
    ("not in the sudoers", "sudo lets {login} be nobody", "on the host, by visudo: {login} ALL=({user}) ALL"),
    ("not allowed to", "sudo lets {login} do other things, and not this: jobs are begun by /bin/sh",
     "on the host, by visudo: {login} ALL=({user}) ALL"),
)  # fmt: skip


def sudo_finding(barred: str, user: str, told: Told) -> Finding:
    """What to say of a host where `user` could not be had; `told` is what the host told to who logs in.

    >>> sudo_finding("sudo refused to run as ann: sudo: unknown user ann", "ann", Told(tools=frozenset({"sudo"}))).why
    'the host has no such account'
    """
    login = told.user or "the account"
    if "sudo" not in told.tools:
        what, why = "it has no sudo", f"jobs are begun as {user} by sudo"
        fix = f"install it there (apt-get install sudo); or log in as that account: --user {user}"
        return Finding(check="sudo", bad=True, what=what, why=why, fix=fix)
    fits = (each for each in REASONS if each[0] in barred)
    _, why, fix = next(
        fits, ("", "jobs are begun as {user} by sudo, which said no to {login}", "on the host: sudo -l")
    )
    names = {"login": login, "user": user}
    return Finding(check="sudo", bad=True, what=barred, why=why.format(**names), fix=fix.format(**names))
