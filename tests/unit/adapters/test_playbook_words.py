"""The words of a playbook's end: what Ansible's modules put into other fields than their message."""

from cpcd.adapters.playbooks.__main__ import _verdict, _Watch


def test_a_server_that_refuses_is_named_with_its_answer() -> None:
    """get_url's message is "Request failed" alone, whatever was asked for."""
    watch = _Watch(deadline=0)
    url = "https://pkgs.k8s.io/core:/stable:/v1.99/deb/Release.key"
    result = {"msg": "Request failed", "response": "HTTP Error 403: Forbidden", "status_code": 403, "url": url}
    watch.hear({"event": "runner_on_failed", "event_data": {"task": "Fetch the repository's key", "res": result}})

    told = f'task "Fetch the repository\'s key": Request failed; HTTP Error 403: Forbidden; {url}'
    assert {"reason": "Failed", "message": told} == _verdict(watch, "failed")["error"]
