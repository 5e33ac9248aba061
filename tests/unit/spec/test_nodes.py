"""What a spec may say of Node objects: labels, annotations and taints that nobody else keeps."""

from collections.abc import Callable

import pytest

Complaints = Callable[..., list[str]]
GROUP = "spec.workers.machineDeployments[0]"


def of_workers(complaints: Complaints, words: str) -> list[str]:
    """Return the mistakes of a deployment with these words, less the file and its place."""
    return [said.split(": ", 1)[1] for said in complaints("replicas: 2}", f"replicas: 2, {words}}}")]


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("metadata: {annotations: {cpcd.dev/applied: x}}", 'metadata.annotations["cpcd.dev/applied"]'),
        ("metadata: {labels: {cpcd.dev/applied: x}}", 'metadata.labels["cpcd.dev/applied"]'),
        ("taints: [{key: cpcd.dev/applied, effect: NoSchedule}]", "taints[0].key"),
    ],
)
def test_what_cpcd_keeps_on_a_node_is_refused(complaints: Complaints, words: str, path: str) -> None:
    """It remembers there what it set, and would overwrite the file's value and want it back for ever."""
    assert of_workers(complaints, words) == [
        f"{GROUP}.{path}: cpcd.dev/applied is cpcd's own; keys under cpcd.dev/ are written by cpcd alone"
    ]
