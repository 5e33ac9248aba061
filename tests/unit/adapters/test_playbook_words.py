"""The words of a playbook's end: what Ansible's modules put into other fields than their message."""

from typing import Any

from cpcd.adapters.playbooks.__main__ import _verdict, _Watch


def error(task: str, result: dict[str, Any], *, event: str = "runner_on_failed") -> dict[str, str]:
    """Return what the poller hears of a task that ended so."""
    watch = _Watch(deadline=0)
    watch.hear({"event": event, "event_data": {"task": task, "res": result}})
    told: dict[str, str] = _verdict(watch, "failed")["error"]
    return told


def test_a_server_that_refuses_is_named_with_its_answer() -> None:
    """get_url's message is "Request failed" alone, whatever was asked for."""
    url = "https://pkgs.k8s.io/core:/stable:/v1.99/deb/Release.key"
    result = {"msg": "Request failed", "response": "HTTP Error 403: Forbidden", "status_code": 403, "url": url}

    told = f"task 'Fetch its key': Request failed; HTTP Error 403: Forbidden; {url}"
    assert {"reason": "Failed", "message": told} == error("Fetch its key", result)


def test_of_what_apt_said_the_error_is_told() -> None:
    """Seen on Debian 12: its warnings come first, all in one line."""
    said = (
        "Failed to update apt cache after 5 retries: W:Updating from such a repository can't be done securely, and is"
        " therefore disabled by default., W:See apt-secure(8) manpage for repository creation and user configuration"
        " details., E:The repository 'http://10.78.0.5/bookworm ./ Release' does not have a Release file."
    )
    told = "task 'Install': E:The repository 'http://10.78.0.5/bookworm ./ Release' does not have a Release file."
    assert {"reason": "MirrorUnreachable", "message": told} == error("Install", {"msg": said})


def test_what_apt_get_said_is_told_once() -> None:
    """It stands in the message as well as in what was printed."""
    said = "E: Unable to locate package absent\n"
    result = {"msg": f"'/usr/bin/apt-get install absent' failed: {said}", "stderr": said, "stdout": ""}

    assert error("Install", result)["message"] == "task 'Install': E: Unable to locate package absent"


def test_a_machine_without_sudo_is_told() -> None:
    """What the module would have been run by says it, and not Ansible's message; as Ansible 2.19 puts it."""
    result = {
        "failed": True, "rc": 127, "msg": "No start of json char found", "module_stdout": "",
        "module_stderr": "/bin/sh: 1: sudo: not found\n",
    }  # fmt: skip

    told = "task 'See': No start of json char found; /bin/sh: 1: sudo: not found"
    assert {"reason": "NotRoot", "message": told} == error("See", result)


def test_a_full_disk_is_no_silent_machine() -> None:
    """Ansible calls it unreachable when it cannot make its directory there; a machine that says nothing is."""
    full = "mkdir: cannot create directory '/root/.ansible/tmp/a': No space left on device"
    silent = "Failed to connect to the host via ssh: Connection refused"

    told = [error("any", {"msg": msg}, event="runner_on_unreachable") for msg in (full, silent)]
    assert [("DiskFull", full), ("Unreachable", silent)] == [(each["reason"], each["message"]) for each in told]
