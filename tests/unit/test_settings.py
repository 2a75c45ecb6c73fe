"""Settings as values: what a key takes, which source wins, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.cli.settling import tree
from hostler.errors import SpecError, UsageError
from hostler.settings.fields import Field
from hostler.settings.files import LIMIT, read_files, user_path
from hostler.settings.layers import Layers, Tree, Value
from hostler.settings.variables import FIXED, OF_JOBS, names_of, variable
from tools import settings_doc

BATCH = {
    "slots": Field(key="slots", name="slots"),
    "quiet": Field(key="quiet", name="quiet", flag=True),
    "color": Field(key="color", name="color", choices=("auto", "never")),
    "inventory": Field(key="inventory", name="inventory", many=True, path=True),
    "hosts": Field(key="hosts", name="hosts", rivals=("hostfile",)),
    "hostfile": Field(key="hostfile", name="hostfile", rivals=("hosts",), path=True),
    "provider": Field(key="provider", name="provider", names="a provider"),
    "password": Field(key="password", name="password", secret=True, names="a secret"),
    "resume": Field(key="resume", name="resume", never="it names one run"),
}
TREE: Tree = {
    ("batch",): BATCH,
    ("log",): {"raw": Field(key="raw", name="raw", flag=True)},
    ("sandbox", "up"): {"lifetime": Field(key="lifetime", name="lifetime")},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, and a home beside it."""
    for name in ("work", "home/.config/hostler"):
        (tmp_path / name).mkdir(parents=True, mode=0o755)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def layers(here: Path, *, project: str = "", user: str = "", **environ: str) -> Layers:
    """Sources with these words in them."""
    environ |= {"HOME": str(here / "home")}
    for path, text in ((here / "work/hostler.toml", project), (user_path(environ), user)):
        if text:
            path.write_text(text)
            path.chmod(0o600)
    return Layers(
        environ=environ, files=read_files(environ), verbs=("batch", "log", "sandbox"), tree=lambda: TREE
    )


def batch(here: Path, given: tuple[str, ...] = (), **sources: str) -> dict[str, Value]:
    """What batch gets."""
    return layers(here, **sources).values(("batch",), BATCH, given=given)


def test_the_nearest_source_wins_and_each_value_knows_its_place(here: Path) -> None:
    user = "[all]\ncolor = 'auto'\n[batch]\nslots = 1\nquiet = true\nhosts = 'a'\n"
    project = "# ours\n\n[batch]\nslots = 2\ncolor = 'never'\n"
    found = batch(here, project=project, user=user, HOSTLER_BATCH_SLOTS="3")
    told = {key: (value.value, value.source, value.place) for key, value in found.items()}
    assert told == {
        "slots": ("3", "env", "HOSTLER_BATCH_SLOTS"),
        "color": ("never", "project", "hostler.toml:5"),
        "quiet": (True, "user", f"{here}/home/.config/hostler/hostler.toml:5"),
        "hosts": ("a", "user", f"{here}/home/.config/hostler/hostler.toml:6"),
    }
    assert "slots" not in batch(here, ("slots",), HOSTLER_BATCH_SLOTS="3")


def test_a_verbs_own_table_and_variable_win_over_those_of_all(here: Path) -> None:
    text = "batch.slots = 2\n[all]\nslots = 1\nquiet = true\n"
    assert batch(here, user=text)["slots"].value == "2"
    assert batch(here, HOSTLER_SLOTS="1", HOSTLER_BATCH_SLOTS="2")["slots"].value == "2"
    assert batch(here, project="[batch]\nslots = 2", HOSTLER_SLOTS="1")["slots"].value == "1"


def test_of_rivals_the_one_nearer_to_the_command_line_holds(here: Path) -> None:
    user = "[batch]\nhosts = 'a'\n"
    assert set(batch(here, user=user, HOSTLER_BATCH_HOSTFILE="f")) == {"hostfile"}
    assert set(batch(here, ("hostfile",), user=user)) == set()
    assert set(batch(here, project="[batch]\nhosts='a'\nhostfile='f'")) == {"hosts", "hostfile"}


def test_numbers_texts_and_lists_are_taken_as_the_flag_would_take_them(here: Path) -> None:
    assert batch(here, user="[batch]\nslots = '4'\ninventory = ['a', '/b', '~/c', '-']\n")["inventory"].value == (
        f"{here}/home/.config/hostler/a", "/b", str(Path("~/c").expanduser()), "-",
    )  # fmt: skip
    assert batch(here, project="[batch]\ninventory = 'a'")["inventory"].value == ("a",)
    assert batch(here, HOSTLER_BATCH_INVENTORY="a b\nc")["inventory"].value == ("a b", "c")
    assert layers(here, HOSTLER_BATCH_QUIET="").values(("batch",), BATCH).keys() == {"slots", "inventory"}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[batch]\nslot = 4", 2, "batch has no setting 'slot'; did you mean 'slots'?"),
        ("[bacth]\nslots = 4", 1, "there is no verb 'bacth'; did you mean 'batch'?"),
        ("[all]\n\ncolour = 'never'", 3, "no verb has a setting 'colour'; did you mean 'color'?"),
        ("slots = 4", 1, "slots stands in no table: write it below [all] or a verb's, [batch]"),
        ("batch = 4", 1, "batch must be a table, [batch]"),
        ("[batch]\nquiet = 'yes'", 2, 'quiet = "yes": must be true or false'),
        ("[batch]\nslots = true", 2, "slots = true: must be a text or a number"),
        ("[batch]\nslots = [1]", 2, "slots = [1]: must be a text or a number"),
        ("[batch]\ninventory = [1, []]", 2, "must be a text or a number"),
        ("[batch]\ncolor = 'blue'", 2, 'color = "blue": must be one of auto, never'),
        ("[batch]\nhosts = ''", 2, "must hold something"),
        ("[batch]\nhosts = '''a\\u0000'''\n[log]", None, None),
        ('[batch]\nhosts = "a\\u0000"', 2, "no NUL"),
        ("[batch]\nresume = 'last'", 2, "resume is no setting: it names one run"),
        ("[all]\nresume = 'last'", 2, "resume is no setting: it names one run"),
        ("[batch]\npassword = 'hunter2'", 2, "never the secret itself"),
        ("[batch]\nslots = 4\nslots = 5\n", 3, "is not TOML"),
        ("[batch\n", 1, "is not TOML"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_file_and_line(
    here: Path, text: str, line: int | None, why: str | None
) -> None:
    if why is None:
        batch(here, user=text)
        return
    with pytest.raises(SpecError) as caught:
        batch(here, user=text)
    assert why in str(caught.value) and caught.value.line == line
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("name", "text"), [("SLOTS", "\0"), ("QUIET", "maybe"), ("COLOR", "blue")])
def test_a_variable_that_makes_no_sense_is_named(here: Path, name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"HOSTLER_BATCH_{name}=.*: must"):
        layers(here, **{f"HOSTLER_BATCH_{name}": text}).values(("batch",), BATCH)


@pytest.mark.parametrize("table", ["batch", "all"])
def test_a_projects_file_may_not_say_what_only_its_user_may(here: Path, table: str) -> None:
    text = f"[{table}]\nprovider = 'x'\n"
    assert batch(here, user=text)["provider"].value == "x"
    with pytest.raises(
        SpecError, match=r"hostler.toml:2: provider names a provider, which a project's file may not"
    ):
        batch(here, project=text)
    with pytest.raises(SpecError, match="HOSTLER_PROVIDER" if table == "all" else "HOSTLER_BATCH_PROVIDER"):
        layers(here).values(("batch",), BATCH)


def test_a_key_of_all_that_only_another_verb_has_is_known_and_held_to_the_same_limits(here: Path) -> None:
    assert batch(here, user="[all]\nraw = true") == {}
    with pytest.raises(SpecError, match="provider names a provider"):
        layers(here, project="[all]\nprovider = 'x'").values(("log",), TREE[("log",)])


def test_tables_below_a_verb_are_for_the_verbs_below_it(here: Path) -> None:
    up = ("sandbox", "up")
    assert layers(here, user="[sandbox.up]\nlifetime = '1h'").values(up, TREE[up])["lifetime"].value == "1h"
    with pytest.raises(SpecError, match=r":2: \[sandbox\] takes \[sandbox.up\], not 'lifetime'"):
        layers(here, user="[sandbox]\nlifetime = '1h'").values(up, TREE[up])


def test_a_file_too_long_too_deep_or_not_utf_8_is_refused(here: Path) -> None:
    for text, why in (("#" * (LIMIT + 1), "longer than 64 KiB"), ("a = " + "[" * 30_000, "hostler.toml")):
        with pytest.raises(SpecError, match=why):
            batch(here, project=text)
    (here / "work/hostler.toml").write_bytes(b"[batch]\nhosts = '\xff'\n")
    with pytest.raises(SpecError, match=r"hostler\.toml:2: is not UTF-8"):
        batch(here)


def test_variables_that_mean_nothing_are_found_and_those_of_jobs_are_not(here: Path) -> None:
    jobs = dict.fromkeys((*OF_JOBS, *FIXED), "x")
    assert layers(here, **jobs, HOSTLER_LOG_RAW="1", HOSTLER_RAW="1").strange(("batch",), BATCH)[0] == []
    odd, known = layers(here, HOSTLER_SLOTTS="1", HOSTLER_BATCH_RESUME="1").strange(("batch",), BATCH)
    assert odd == ["HOSTLER_BATCH_RESUME", "HOSTLER_SLOTTS"]
    assert "HOSTLER_BATCH_SLOTS" in known


def test_no_variable_means_two_things() -> None:
    meant: dict[str, tuple[str, ...]] = {}
    for words, fields in tree().items():
        for field in fields.values():
            name = variable(field.key, *words)
            assert name not in meant and name not in (*OF_JOBS, *FIXED), (name, words, meant.get(name))
            meant[name] = words
    for words, fields in tree().items():
        for name, field in names_of(words, fields.values()).items():
            assert meant.get(name, words) == words, (name, words, meant[name])
            assert name not in (*OF_JOBS, *FIXED), (name, field.key)


#: Words of a flag or its help that show that it could name what a project's file may not.
TELLING = ("key", "identity", "password", "passphrase", "secret", "provider", "program", "hook", "listen", "socket",
           "store", "endpoint", "ssh", "sudo asks", "results", "joblog", "write")  # fmt: skip
#: ... and those of which one look says that they don't.
HARMLESS = {"keep-order"}


def test_a_flag_that_could_name_a_program_a_key_or_a_place_is_marked() -> None:
    for words, fields in tree().items():
        for field in fields.values():
            if field.key not in HARMLESS and any(word in field.key.split("-") for word in TELLING):
                assert field.names or field.never, f"{' '.join(words)} --{field.key}: mark it, names=..."


def test_the_page_about_settings_is_as_the_commands_are() -> None:
    text = settings_doc.PAGE.read_text(encoding="utf-8")
    assert text == settings_doc.page(), "run: python tools/settings_doc.py"
    assert all(name in text for name in (*OF_JOBS, *FIXED))


def test_the_pages_example_holds(here: Path) -> None:
    example = settings_doc.PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    fields = tree()[("batch",)]
    (here / "work/hostler.toml").write_text(example)
    (here / "work/hostler.toml").chmod(0o600)
    files = read_files({"HOME": str(here / "home")})
    layers = Layers(environ={}, files=files, verbs={words[0] for words in tree()}, tree=tree)
    found = {words: layers.values(words, fields) for words, fields in tree().items()}
    assert found[("batch",)]["slots"].value == "4" and found[("sandbox", "up")]["lifetime"].value == "8h"
    assert fields["inventory"].many
