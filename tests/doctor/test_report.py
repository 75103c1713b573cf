"""What doctor tells: for people at night in 80 columns, for programs by a strict schema."""

from __future__ import annotations

import json

import doctor_samples as samples
import pytest

from storpool_ovirt import __version__ as VERSION  # noqa: N812
from storpool_ovirt import sentences
from storpool_ovirt.doctor import checks, mending, report
from storpool_ovirt.doctor.checks import Finding, Result

pytestmark = pytest.mark.fast
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (setup.py, dev)")
DRAFT = jsonschema.Draft202012Validator
STEPS = (
    mending.Step("engine-token", "domain fast", "give it to group ovirt", mending.DONE, "it is"),
    mending.Step("engine-log", "", "make the folder", mending.FAILED, "/var/log: No space left"),
    mending.Step("engine-link", "", "make the link", mending.WOULD, ""),
)


def told(findings: tuple[Finding, ...] = samples.FOUND, **given: str) -> list[str]:
    """Return the lines for people."""
    return [*report.text(report.document(samples.look(findings, **given)))]


def test_the_whole_for_people() -> None:
    """Worst first, each with cause, risk and fix; what is fine in a line; numbers and the next
    command last."""
    assert told() == [
        f"Engine on engine1.example.com, 2026-11-26 13:46:41 UTC, storpool-ovirt {VERSION}",
        "",
        "CRITICAL  the file /etc/ovirt-engine/storpool-ovirt/token (driver option",
        "          sp_auth_token_file) cannot be read (Permission denied)",
        "  for     domain fast",
        "  wanted  storage_stats succeeds for each storage domain",
        "  risk    nothing can be made, deleted or connected there",
        f"  fix     {samples.LONG_COMMAND}",
        "  check   engine-domain-stats (--fix does it)",
        "",
        "WARNING   this machine is 42 s ahead of the StorPool API at 10.1.2.3:81",
        "  wanted  the clocks of Engine, database and StorPool agree",
        "  risk    the ages that an audit tells are wrong, and what is under way may look",
        "          old to it",
        "  fix     chronyc makestep",
        "  check   engine-clock",
        "",
        "UNKNOWN   engine-config is not here",
        "  wanted  all of this is as it should be",
        "  check   engine-fence-agent",
        "",
        "fine      1 other check; --json and --html tell what each has seen",
        "",
        "CRITICAL: 1 critical, 1 warning, 1 not known, 3 fine, in 3.2 s",
        "next: storpool-ovirt doctor engine --fix   mends 1 of these; --dry-run tells how",
    ]


def test_lines_fit_80_columns() -> None:
    """But a command, which is copied: it stays whole on its line; and words that are longer."""
    wide = [line for line in told() if len(line) > report.WIDTH]
    assert wide == [f"  fix     {samples.LONG_COMMAND}"]
    sentence = "correct the address of the API in the options of the domain, or the DNS: " * 2
    result = Result(checks.WARNING, "cause", "risk", sentence.strip())
    assert all(len(line) <= report.WIDTH for line in told((samples.finding("host-x", result),)))


@pytest.mark.parametrize(
    ("findings", "place", "last"),
    [
        (samples.FOUND[:1], "host", ["OK: 1 fine, in 3.2 s"]),
        (
            samples.FOUND[1:2],
            "host",
            [
                "WARNING: 1 warning, in 3.2 s",
                'next: do what stands beside "fix", then  storpool-ovirt doctor host',
            ],
        ),
        (
            samples.FOUND[4:5],
            "engine and host",
            [
                "CRITICAL: 1 critical, in 3.2 s",
                "next: storpool-ovirt doctor --fix   mends this; --dry-run tells how",
            ],
        ),
    ],
    ids=["fine", "warning", "critical"],
)
def test_the_last_lines(findings: tuple[Finding, ...], place: str, last: list[str]) -> None:
    """The verdict with its numbers, and what to type next: nothing where nothing is wrong."""
    assert told(findings, place=place)[-len(last) :] == last


def test_what_is_the_same_is_told_once() -> None:
    """A check with the same words for many subjects, and checks that could not look for the same
    reason; JSON has each."""
    result = (checks.WARNING, "it is old", "it breaks", "dnf update vdsm")
    many = [
        samples.finding("engine-host-vdsm", Result(*result, f"host{each}")) for each in range(7)
    ]
    silent = [
        Finding(checks.Check(f"engine-{each}", each, lambda _: []), checks.unknown("no psql"), 0.1)
        for each in ("database", "domains")
    ]
    assert told((*many, *silent))[2:-1] == [
        "WARNING   it is old",
        "  for     host0, host1, host2, host3, host4, and 2 more",
        "  wanted  all of this is as it should be",
        "  risk    it breaks",
        "  fix     dnf update vdsm",
        "  check   engine-host-vdsm",
        "",
        "UNKNOWN   no psql",
        "  check   engine-database, engine-domains",
        "",
        "WARNING: 7 warning, 2 not known, in 3.2 s",
    ]
    assert len(report.document(samples.look((*many, *silent)))["checks"]) == 9


def test_who_is_not_root_is_told_once() -> None:
    """At the top, and as the next step; not where all is fine."""
    lines = [*report.text(report.document(samples.look()), by_root=False)]
    assert lines[1] == "This was not run as root: what only root can look at is not known here."
    assert lines[-1] == "next: run it as root:  storpool-ovirt doctor engine"


def test_what_fix_could_not_do_is_not_promised_again() -> None:
    """Neither beside it nor in the last line."""
    step = mending.Step("engine-domain-stats", "domain fast", "give it", mending.FAILED, "no space")
    lines = [*report.text(report.document(samples.look(), (step,)))]
    assert "  check   engine-domain-stats (--fix could not do it)" in lines
    assert lines[-1] == 'next: do what stands beside "fix", then  storpool-ovirt doctor engine'


@pytest.mark.parametrize(
    ("fix", "is_command"),
    [
        ("dnf reinstall storpool-ovirt-common storpool-ovirt-admin storpool-ovirt-engine", True),
        ("chronyc makestep", True),
        ("/usr/bin/x", True),
        ("rm -f /a && systemctl daemon-reload", True),
        ("psql -c \"UPDATE a SET b = 'c' WHERE this is it, or that\" engine", True),
        ("install our packages with dnf", False),
        ("curl -m 5 http://x/; is x right, and does it answer?", False),
        ("rm -r /opt/x; dnf reinstall y  (docs/upgrade.md)", False),
        ("update Engine", False),
    ],
)
def test_a_command_is_whole_and_a_sentence_is_not(fix: str, is_command: bool) -> None:
    """A line that is broken cannot be copied."""
    assert report.is_command(fix) is is_command


def test_packages_from_files_come_back_from_files() -> None:
    """dnf has no other source of them: that is told once, where a fix needs it."""
    found = Result(checks.WARNING, "c", "r", "dnf reinstall storpool-ovirt-common")
    lines = told((samples.finding("host-x", found), samples.finding("host-y", found)))
    assert len([each for each in lines if each.startswith("note ")]) == 1
    assert "dnf reinstall ./storpool-ovirt-*.rpm" in " ".join(lines)
    assert "note " not in " ".join(told())


def test_the_exit_code_is_that_of_the_worst() -> None:
    """What could not be looked at counts where nothing worse is there."""
    for results, code in (
        ("ok", 0),
        ("ok unknown", 3),
        ("unknown warning ok", 1),
        ("warning critical unknown", 2),
    ):
        found = [samples.finding("host-x", Result(each, "c", "r", "f")) for each in results.split()]
        assert report.EXIT_CODES[report.document(samples.look(found))["result"]] == code


def test_what_was_mended_is_told_first() -> None:
    """Done, failed and why, or what would be done."""
    lines = [*report.text(report.document(samples.look(), STEPS))]
    assert lines[2:8] == [
        "done      engine-token: give it to group ovirt",
        "          it is",
        "FAILED    engine-log: make the folder",
        "          /var/log: No space left",
        "would     engine-link: make the link",
        "",
    ]


@pytest.mark.parametrize("mended", [None, (), STEPS], ids=["look", "nothing", "steps"])
def test_documents_are_as_the_schema_says(mended: tuple[mending.Step, ...] | None) -> None:
    """Each document of these tests, also with texts that nobody would write."""
    for findings in (samples.FOUND, samples.hostile(), ()):
        facts = report.document(samples.look(findings), mended)
        samples.check_document(facts)
        samples.check_document(json.loads(report.as_json(facts)))
        assert ("mended" in facts) is (mended is not None)


def test_the_schema_is_one_and_is_strict() -> None:
    """Whatever is added, taken away or of another kind is refused."""
    DRAFT.check_schema(samples.schema())
    good = report.document(samples.look(), STEPS)
    for place in (good, good["checks"][0], good["versions"][0], good["mended"][0]):
        for key, kept in [*place.items()]:
            for bad in (None, [1], {"more": 1}):
                place[key] = bad
                assert not DRAFT(samples.schema()).is_valid(good), key
            del place[key]
            assert DRAFT(samples.schema()).is_valid(good) is (key == "mended"), key
            place[key] = kept
        place["more"] = "text"
        assert not DRAFT(samples.schema()).is_valid(good)
        del place["more"]
    samples.check_document(good)


def test_a_problem_without_a_way_out_is_no_document() -> None:
    """Cause, risk and fix are there for each that is wrong."""
    for key in ("cause", "risk", "fix"):
        facts = report.document(samples.look())
        wrong = next(each for each in facts["checks"] if each["result"] == "critical")
        wrong[key] = ""
        assert not DRAFT(samples.schema()).is_valid(facts)


def test_metrics_are_as_node_exporter_reads_them() -> None:
    """The worst of each check as its exit code, the worst of all, and the time."""
    lines = [*report.prometheus(report.document(samples.look()))]
    assert [line for line in lines if line[0] != "#"] == [
        'storpool_ovirt_doctor_check{check="engine-database"} 0',
        'storpool_ovirt_doctor_check{check="engine-clock"} 1',
        'storpool_ovirt_doctor_check{check="engine-domain-stats"} 2',
        'storpool_ovirt_doctor_check{check="engine-fence-agent"} 3',
        "storpool_ovirt_doctor_result 2",
        "storpool_ovirt_doctor_time_seconds 1795700801",
    ]
    for metric in ("check", "result", "time_seconds"):
        assert f"# TYPE storpool_ovirt_doctor_{metric} gauge" in lines


@pytest.mark.parametrize(
    "text",
    [
        'engine ran with {"sp_auth_token": "SECRET-words-1", "adapter": "storpool"}',
        "could not connect to postgresql://ovirt:SECRET-words-1@localhost:5432/engine",
        "{'password': 'SECRET-words-1'}",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """T75: also where no check expected one in what a tool said; the rest of the text stays."""
    found = samples.finding("host-x", Result(checks.CRITICAL, text, text, text, text))
    facts = report.document(samples.look([found]))
    assert "SECRET" not in json.dumps(facts)
    assert facts["checks"][0]["cause"] == text.replace("SECRET-words-1", sentences.MASK)
