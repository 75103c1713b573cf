"""Engine's file for tasks on hosts that it adds: ours is one more in it, and goes again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import played_machines
import pytest

if TYPE_CHECKING:
    from controller import Controller

    from rigs.machine import Machine

yaml = pytest.importorskip("yaml", reason="Ansible is not installed here: tox -e ansible")

FOLDER = "/etc/ovirt-engine/ansible"
FILE = f"{FOLDER}/ovirt-host-deploy-post-tasks.yml"
OURS = f"{FOLDER}/storpool-ovirt-host.yml"
THEIRS = """# Ours since 2019
- name: A task of theirs
  ansible.builtin.debug:
    msg: hello
- name: Another, which ends in a text
  ansible.builtin.copy:
    dest: /tmp/theirs
    content: |
      - not: a task
        # and no comment
"""
# How it may be found, each a list to which one can be added.
FOUND = {
    "absent": None,
    "blank": "\n\n",
    "begun": "---\n# nothing here yet\n",
    "theirs": "---\n" + THEIRS,
    "theirs-in": "".join(f"  {line}\n" for line in THEIRS.splitlines()),
    "no-end": "- name: x\n  ansible.builtin.debug:",
}
# How it must be left as it is.
NO_LIST = {
    "mapping": "name: a task\nansible.builtin.debug:\n",
    "text": "hello\n",
    "damaged": "- name: 'never closed\n",
    "documents": "---\n- name: x\n---\n- name: y\n",
    "ended": "---\n- name: x\n...\n",
    "flow": "[{name: x}]\n",
}


def part(name: str, tasks_from: str) -> dict[str, Any]:
    """Return a task that plays a part of the role on a file of its own."""
    return {
        "ansible.builtin.include_role": {"name": "storpool.ovirt.engine", "tasks_from": tasks_from},
        "vars": {"__engine_post_tasks": f"{FOLDER}/{name}"},
    }


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a play of tasks."""
    return [{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]


def files(engine: Controller) -> dict[str, str]:
    """Return the files by their names, with what is in each."""
    folder = engine.machine.path(FOLDER)
    return {each.name: each.read_text() for each in folder.iterdir()}


def test_one_task_is_added_and_taken_away(engine: Controller) -> None:
    """To whatever list is there; a second time changes nothing; the file is then as it was, and one
    that has nothing but ours is gone with it."""
    engine.machine.do('mkdir -p "$1"', FOLDER)
    for name, text in FOUND.items():
        if text is not None:
            engine.machine.write(f"{FOLDER}/{name}", text, 0o640, "root:ovirt")
    add = play(*(part(name, "host_deploy") for name in FOUND))
    engine.playbook(add).check(changed=len(FOUND) + 1)
    made = files(engine)
    rights = engine.machine.tree(FOLDER)
    for name, text in FOUND.items():
        theirs = yaml.safe_load(text or "") or []
        tasks = yaml.safe_load(made[name])
        assert tasks[:-1] == theirs, name
        assert tasks[-1]["ansible.builtin.include_tasks"] == OURS
        wanted = "-rw-r--r-- 0:0 " if text is None else "-rw-r----- 0:108 "
        assert rights[f"{FOLDER}/{name}"].startswith(wanted)
    assert rights[OURS].startswith("-rw-r--r-- 0:0 ")
    engine.playbook(add).check(changed=0)
    assert files(engine) == made
    take = play(*(part(name, "no_host_deploy") for name in FOUND))
    engine.playbook(take).check()
    left = files(engine)
    for name, text in FOUND.items():
        if (text or "").strip():
            assert left[name].rstrip() == text.rstrip(), name
        else:
            assert name not in left
    assert "storpool-ovirt-host.yml" not in left


def test_what_is_no_list_of_tasks_is_left(engine: Controller) -> None:
    """It says so in one sentence, and writes neither that file nor its own."""
    tasks = []
    for name, text in NO_LIST.items():
        engine.machine.write(f"{FOLDER}/{name}", text)
        said = {"ansible.builtin.debug": {"msg": f"{name}: {{{{ ansible_failed_result.msg }}}}"}}
        tasks.append({"block": [part(name, "host_deploy")], "rescue": [said]})
    played = engine.playbook(play(*tasks)).check(changed=0)
    for name in NO_LIST:
        assert f"{name}: {FOLDER}/{name} is not a list of tasks, each with a dash" in played.text
    assert files(engine) == NO_LIST


def test_a_host_that_engine_adds_is_set_up(machine: Machine) -> None:
    """By the file that Engine includes, played as Engine plays it; a host without StorPool is left,
    a second time changes nothing."""
    site = played_machines.host(machine)
    machine.do('mkdir -p "$1"; ln -s /opt/storpool-ovirt/bin/storpool-ovirt /usr/sbin/', FOLDER)
    write = part("ovirt-host-deploy-post-tasks.yml", "host_deploy")
    write["vars"]["engine_storpool_host_deploy_packages"] = []
    site.controller.playbook(play(write)).check()
    before = site.tree()
    added = play({"ansible.builtin.include_tasks": FILE})
    machine.do("mv /etc/storpool.conf /etc/storpool.conf.later")
    site.controller.playbook(added).check(changed=0)
    machine.do("mv /etc/storpool.conf.later /etc/storpool.conf")
    assert site.tree() == before
    site.controller.playbook(added).check(changed=1)
    assert "/usr/libexec/vdsm/hooks/before_vm_start/50_storpool" in site.tree()
    site.controller.playbook(added).check(changed=0)
    machine.do("mv /usr/libexec/vdsm /usr/libexec/vdsm-of-another")
    assert "this machine has no " in site.controller.playbook(added).failure()


def test_what_is_installed_there_is_what_the_role_was_given(engine: Controller) -> None:
    """Packages and the repository, with its key."""
    write = part("ovirt-host-deploy-post-tasks.yml", "host_deploy")
    given = {
        "repository": "https://x.example/a?b=c: #d",
        "repository_gpgkey": "https://x.example/k",
    }
    write["vars"] |= {f"engine_storpool_{name}": value for name, value in given.items()}
    engine.machine.do('mkdir -p "$1"', FOLDER)
    engine.playbook(play(write)).check()
    tasks = yaml.safe_load(engine.machine.read(OURS))[1]["block"]
    known = tasks[0]["ansible.builtin.yum_repository"]
    assert (known["baseurl"], known["gpgkey"], known["gpgcheck"]) == (*given.values(), True)
    assert tasks[1]["ansible.builtin.dnf"]["name"] == ["storpool-ovirt-host"]
