"""Options about where jobs come from that can't be meant: one line each, and no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.cli.main import main


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--colsep , --header : --jobs list -- echo {c}", "asks for {c}; the columns are a, b"),
        ("--colsep , --header : --jobs list", "--header names columns for a command"),
        ("--colsep , --header x --jobs list -- echo", "--header x: write --header :"),
        ("--colsep , --words --jobs list -- echo", "--words and --colsep"),
        ("--colsep ( --jobs list -- echo", "no regular expression"),
        ("--header : --jobs empty -- echo", "no line that could name columns"),
        ("--header : --jobs twice --colsep , -- echo", "two columns are called 'a'"),
        ("--header : -- echo :::", "no word that could name a column"),
        ("-- echo :::+ a", "':::+' goes in step with the list before it"),
        ("-- echo :::: nowhere", ":::: nowhere: No such file"),
        ("-- echo ::: a :::: nowhere", ":::: nowhere: No such file"),
        ("--jobs list -- echo ::: a", "one or the other"),
        ("--seed 1 -- echo ::: a", "--seed is for --shuf"),
        ("--shuf --seed x -- echo ::: a", "--seed x"),
        ("-- echo {3} ::: a ::: b", "{3}"),
        ("--resume 1 --shuf", "--shuf: a run that goes on keeps"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOSTLER_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "list").write_text("a,b\n1,2\n3\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "twice").write_text("a,a\n")
    assert main(["batch", "--hosts", "h", *line.split()]) == 2
    told = capfd.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1
    assert said in told.err and not (tmp_path / "state" / "runs").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--env 1a=x", "'1a': no name of a variable"),
        ("--env NOT_SET_HERE", "NOT_SET_HERE: it is not set here"),
        ("--env HOSTLER_JOB=7", "from hostler"),
        ("--halt later", "--halt 'later': write never or"),
        ("--deadline never", "--deadline: 'never'"),
        ("--delay -1", "--delay: '-1'"),
        ("-k --stream", "leave --stream out"),
        ("--tagstring {%}", "--tagstring '{%}'"),
    ],
)
def test_so_is_what_is_wrong_about_jobs_and_their_output(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    test_what_is_wrong_is_said_in_one_line(f"{line} -- echo ::: a", said, tmp_path, monkeypatch, capfd)
