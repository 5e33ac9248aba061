"""init, join, reset and join secrets: what kubeadm is asked, with which files, and what stays."""

import json
import subprocess
from pathlib import Path

import pytest

from cpcd.guest.kubeadm import init, join, join_secrets, kubeconfig, reset
from cpcd.guest.machine import Machine, Ran, Refused, run_command
from cpcd.guest.ops import release_endpoint
from tests.unit.guest.recorded import Programs, machine, put, recorded

VIP = "/etc/kubernetes/manifests/kube-vip.yaml"
WHOLE = {
    "etcdctl": Ran(0, '{"members": [{"ID": 1, "name": "cp1"}]}'),
    "kubectl": Ran(0, '{"items": []}'),
}
SECRET = "token: abcdef.0123456789abcdef"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """Return a machine's root with a real CA certificate."""
    put(tmp_path, "/etc/kubernetes/pki/ca.crt")
    crt = tmp_path / "etc/kubernetes/pki/ca.crt"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*make, "-keyout", "/dev/null", "-out", crt], check=True, capture_output=True)
    return tmp_path


def acting(root: Path, answers: dict[str, Ran]) -> tuple[Machine, Programs, list[str]]:
    """Return a machine with a real openssl whose kubeadm answers so, its calls, and the configurations it read."""
    read: list[str] = []
    programs = Programs(answers)

    def run(argv: list[str], **options: object) -> Ran:
        if argv[0] == "openssl":
            return run_command(argv)
        if "--config" in argv:
            path = Path(argv[argv.index("--config") + 1])
            assert path.stat().st_mode & 0o777 == 0o600
            read.append(path.read_text())
        return programs(argv, **options)

    return Machine(root=root, run=run), programs, read


def test_the_ca_hash_is_kubeadms(ca: Path) -> None:
    """The same as the pipeline that kubeadm's documentation gives (recorded [240])."""
    crt = ca / "etc/kubernetes/pki/ca.crt"
    pipeline = f"openssl x509 -pubkey -in {crt} | openssl pkey -pubin -outform der | sha256sum"
    expected = (
        "sha256:" + subprocess.run(["sh", "-c", pipeline], capture_output=True, text=True, check=True).stdout[:64]
    )
    put(ca, "/etc/kubernetes/admin.conf", "apiVersion: v1\n")
    real, _, _ = acting(ca, {})

    assert kubeconfig(real, {}, "") == {"kubeconfig": "apiVersion: v1\n", "ca_hash": expected}


def test_init_hands_its_configuration_over_in_a_private_file_that_is_gone_afterwards(ca: Path) -> None:
    """Nothing secret is left and nothing stands in argv."""
    real, programs, read = acting(ca, {"kubeadm init": Ran(0), **WHOLE})

    output = init(real, {"config": SECRET, "manifests": {}})

    assert output["ca_hash"].startswith("sha256:")
    assert read == [SECRET]
    assert list((ca / "run/cpcd").iterdir()) == []
    assert not any("0123456789abcdef" in call or "--ignore" in call for call in programs.calls)


@pytest.mark.parametrize(
    ("members", "missing", "wanted"),
    [
        ('[{"ID": 1}]', "", (1, ["kubeadm-config", "cluster-info"])),
        ('[{"ID": 1}, {"ID": 2}]', "kubeadm-config", (2, ["cluster-info"])),
        ('[{"ID": 1}, {"ID": 2, "isLearner": true}]', "cluster-info", (1, ["kubeadm-config"])),
    ],
)
def test_init_tells_what_it_made(ca: Path, members: str, missing: str, wanted: tuple[int, list[str]]) -> None:
    """Voters, and the ConfigMaps of its late phases: whether that is a cluster is judged elsewhere."""
    there = {"kubeadm-config": "kube-system", "cluster-info": "kube-public", "kube-root-ca.crt": "default"}
    found = [{"metadata": {"namespace": place, "name": name}} for name, place in there.items() if name != missing]
    kubectl = Ran(0, json.dumps({"kind": "ConfigMapList", "items": found}))
    listed = Ran(0, f'{{"members": {members}}}')
    real, _, _ = acting(ca, {"kubeadm init": Ran(0), "etcdctl": listed, "kubectl": kubectl})

    output = init(real, {"config": "", "manifests": {}})

    assert wanted == (output["voters"], output["config_maps"])


def test_init_places_manifests_first_and_switches_them_off_super_admin_at_the_end(ca: Path) -> None:
    """kube-vip needs super-admin.conf until RBAC is there (`failures.md` K07)."""
    during: list[str] = []

    def kubeadm(_argv: list[str]) -> Ran:
        during.append((ca / VIP.lstrip("/")).read_text())
        return Ran(0)

    real, _, _ = acting(ca, {"kubeadm init": kubeadm, **WHOLE})

    init(real, {"config": "", "manifests": {VIP: "path: /etc/kubernetes/super-admin.conf\n"}})

    assert during == ["path: /etc/kubernetes/super-admin.conf\n"]
    assert (ca / VIP.lstrip("/")).read_text() == "path: /etc/kubernetes/admin.conf\n"


def test_init_over_what_an_earlier_init_of_ours_left_ignores_preflight(ca: Path) -> None:
    """It keeps CA and data and finishes (recorded [177, 187, 188])."""
    for op in ("first", "this"):
        put(ca, f"/var/lib/cpcd/ops/{op}/verb", "init")
    put(ca, "/etc/kubernetes/manifests/etcd.yaml")
    real, programs, _ = acting(ca, {"kubeadm init": Ran(0), **WHOLE})

    init(real, {"config": "", "manifests": {}})

    assert programs.calls[0].endswith("--ignore-preflight-errors=all")


@pytest.mark.parametrize("others", [(), ("join",), ("init", "join")])
def test_init_over_what_is_not_ours_alone_obeys_preflight(ca: Path, others: tuple[str, ...]) -> None:
    """A cluster made by hand, or a machine that ever joined one, is never initialised over."""
    for number, verb in enumerate((*others, "init")):
        put(ca, f"/var/lib/cpcd/ops/{number}/verb", verb)
    put(ca, "/etc/kubernetes/manifests/etcd.yaml")
    real, programs, _ = acting(ca, {"kubeadm init": recorded(189)})

    with pytest.raises(Refused) as refused:
        init(real, {"config": "", "manifests": {}})

    assert refused.value.reason == "PreflightFilesPresent"
    assert "--ignore" not in programs.calls[0]


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/kubernetes/../passwd", "etc/kubernetes/x"])
def test_manifests_stay_below_the_directory_of_kubernetes(ca: Path, path: str) -> None:
    """Nothing else on the machine can be overwritten by a manifest."""
    real, programs, _ = acting(ca, {"kubeadm join": Ran(0)})

    with pytest.raises(Refused) as refused:
        join(real, {"config": "", "manifests": {path: "x"}})

    assert (refused.value.reason, programs.calls) == ("InvalidInput", [])


def test_a_failed_join_says_why_and_leaves_no_configuration(tmp_path: Path) -> None:
    """Recorded [248]: the token is unknown or has expired."""
    real, _, read = acting(tmp_path, {"kubeadm join": recorded(248)})

    with pytest.raises(Refused) as refused:
        join(real, {"config": SECRET})

    assert (refused.value.reason, read) == ("TokenUnknown", [SECRET])
    assert list((tmp_path / "run/cpcd").iterdir()) == []


def test_the_endpoint_is_released_by_taking_kube_vips_manifest_away(tmp_path: Path) -> None:
    """The kubelet ends the pod then, and kube-vip gives up lease and address; that is awaited."""
    put(tmp_path, VIP)
    held = '[{"addr_info": [{"local": "10.0.0.4", "scope": "global"}]}]'
    answers = iter([held, held, "[]", "[]"])
    real = machine(tmp_path, {"ip -j addr": lambda _argv: Ran(0, next(answers))})

    assert release_endpoint(real, {"address": "10.0.0.4"}, "") == {"released": True}
    assert not (tmp_path / VIP.lstrip("/")).exists()
    assert release_endpoint(machine(tmp_path, {"ip -j addr": Ran(0, "[]")}), {"address": "10.0.0.4"}, "") == {
        "released": True
    }


def test_reset_also_removes_what_kubeadm_leaves(tmp_path: Path) -> None:
    """CNI configuration, root's kubeconfig and etcd data without a pod spec (recorded [190-197, 266])."""
    for path in ("/etc/cni/net.d/10-calico.conflist", "/root/.kube/config", "/var/lib/etcd/member/wal", VIP):
        put(tmp_path, path)

    reset(machine(tmp_path, {"kubeadm reset -f": Ran(0)}), {})

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_failed_reset_removes_nothing(tmp_path: Path) -> None:
    """Etcd data of a machine that was not reset stays."""
    put(tmp_path, "/var/lib/etcd/member/wal")

    with pytest.raises(Refused):
        reset(machine(tmp_path, {"kubeadm reset -f": Ran(1, err="error: x")}), {})

    assert (tmp_path / "var/lib/etcd/member/wal").exists()


@pytest.mark.parametrize(("control_plane", "key"), [(True, "c0" * 32), (False, "")])
def test_join_secrets_are_minted_fresh(ca: Path, control_plane: bool, key: str) -> None:
    """The certificate key is the last line of stdout (recorded [244]); a worker gets none."""
    answers = {
        "kubeadm token create --ttl 15m": Ran(0, "abcdef.0123456789abcdef\n"),
        "kubeadm init phase upload-certs --upload-certs": Ran(
            0, f"[upload-certs] Using certificate key:\n{'c0' * 32}\n"
        ),
    }
    real, _, _ = acting(ca, answers)

    made = join_secrets(real, {"ttl": "15m", "control_plane": control_plane}, "")

    assert (made["token"], made["certificate_key"]) == ("abcdef.0123456789abcdef", key)


def test_without_admin_conf_there_is_no_kubeconfig(tmp_path: Path) -> None:
    """A worker cannot give one."""
    with pytest.raises(Refused):
        kubeconfig(machine(tmp_path, {}), {}, "")
