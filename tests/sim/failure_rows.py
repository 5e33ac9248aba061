"""Every row of `failures.md`, once: what holds it, or why nothing has to; `docs/reference/failures.md` is made from this.

Faults are not named here: the lab's catalogue says which row each is of, and `fault_scenarios.py` which test plays it.
A row without fault and without test needs its reason; `open` says what is not as it should be. Titles are our own words.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["LAYERS", "ROWS", "Kind", "Row"]


class Kind(Enum):
    """Where a row lives, as the page says it."""

    OUTSIDE = "outside"  # the lab does it, or a test of an adapter against the real thing
    INSIDE = "inside cpcd"
    UNUSED = "not met"  # cpcd does not do what it takes
    LATER = "not built yet"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: id of `failures.md`, a title, where it lives, tests besides the faults', the reason, what is open."""

    id: str
    title: str
    kind: Kind
    tests: tuple[str, ...] = ()
    why: str = ""
    open: str = ""


LAYERS: Final = {
    "T": "Proxmox: transport and authentication",
    "P": "Proxmox: tasks, locks, clones, configuration, storage, agent",
    "G": "Cloud-init and the boot of a machine",
    "S": "SSH",
    "R": "Ansible",
    "K": "kubeadm, etcd, kube-vip, packages",
    "C": "The Kubernetes API and its client",
    "F": "Files and git",
    "N": "DNS",
    "D": "The daemon itself",
}

# Files of tests, by a word.
T: Final = {
    "faults": "tests/sim/test_faults.py", "demands": "tests/sim/test_fault_demands.py", "luck": "tests/sim/test_bad_luck.py",
    "stories": "tests/sim/test_stories.py", "cni": "tests/sim/test_cni.py", "errors": "tests/unit/adapters/test_proxmox_errors.py",
    "http": "tests/unit/adapters/test_http_transport.py", "kube": "tests/unit/adapters/test_kube_errors.py",
    "port": "tests/contract/test_kube_port.py", "transport": "tests/contract/test_proxmox_transport.py",
    "ssh": "tests/integration/test_ssh.py", "ansible": "tests/integration/test_ansible_runner.py",
    "real": "tests/integration/test_bad_luck.py", "playbook": "tests/integration/test_prepare_playbook.py",
    "unit": "tests/integration/test_guest_unit.py", "journal": "tests/unit/adapters/test_journal.py",
    "pages": "tests/unit/adapters/test_pages.py", "facts": "tests/unit/guest/test_facts.py", "jobs": "tests/unit/guest/test_jobs.py",
    "guestadm": "tests/unit/guest/test_kubeadm.py", "reasons": "tests/unit/guest/test_reasons.py", "wire": "tests/unit/guest/test_wire.py",
    "resolve": "tests/unit/plan/test_resolve.py", "fields": "tests/unit/plan/test_fields.py", "life": "tests/unit/plan/test_life.py",
    "guards": "tests/unit/plan/test_guards.py", "fleet": "tests/unit/plan/test_fleet.py", "upkeep": "tests/unit/plan/test_upkeep.py",
    "alloc": "tests/unit/plan/test_alloc.py", "kubeadm": "tests/unit/plan/test_kubeadm.py", "dispatch": "tests/unit/loop/test_dispatch.py",
    "backoff": "tests/unit/loop/test_backoff.py", "passes": "tests/unit/loop/test_passes.py", "supervisor": "tests/unit/loop/test_supervisor.py",
    "files": "tests/unit/spec/test_files.py", "load": "tests/unit/spec/test_load.py", "read": "tests/unit/spec/test_read.py",
    "support": "tests/unit/spec/test_support.py", "links": "tests/unit/adapters/test_links.py", "kubeconfig": "tests/unit/reconcilers/test_kubeconfig.py",
    "template": "tests/unit/reconcilers/test_template.py", "nodes": "tests/unit/reconcilers/test_nodes.py",
    "lab-config": "tests/unit/lab_pve/test_config.py", "lab-clone": "tests/unit/lab_pve/test_clone.py",
    "lab-destroy": "tests/unit/lab_pve/test_disks_and_destroy.py", "lab-power": "tests/unit/lab_pve/test_power.py",
    "lab-init": "tests/unit/lab_guests/test_init.py", "lab-join": "tests/unit/lab_guests/test_join.py",
    "lab-boot": "tests/unit/lab_guests/test_boot.py", "disks": "tests/sim/test_disks.py", "growth": "tests/unit/plan/test_growth.py",
}  # fmt: skip


def _nodes(tests: str) -> tuple[str, ...]:
    """Return node ids from `word::name word::name`."""
    return tuple(f"{T[one.partition('::')[0]]}::{one.partition('::')[2]}" for one in tests.split())


def _row(kind: Kind, id_: str, title: str, tests: str = "", *, why: str = "", still: str = "") -> Row:
    return Row(id_, title, kind, _nodes(tests), why, still)


def out(id_: str, title: str, tests: str = "", *, why: str = "", still: str = "") -> Row:
    """Return a row of the outside."""
    return _row(Kind.OUTSIDE, id_, title, tests, why=why, still=still)


def own(id_: str, title: str, tests: str = "", *, why: str = "", still: str = "") -> Row:
    """Return a row of cpcd itself."""
    return _row(Kind.INSIDE, id_, title, tests, why=why, still=still)


def unused(id_: str, title: str, why: str, tests: str = "") -> Row:
    """Return a row that cpcd cannot meet."""
    return _row(Kind.UNUSED, id_, title, tests, why=why)


def later(id_: str, title: str, why: str, tests: str = "", *, still: str = "") -> Row:
    """Return a row of something that is not built."""
    return _row(Kind.LATER, id_, title, tests, why=why, still=still)


TICKETS: Final = "cpcd has API tokens only: no password, ticket, session or CSRF token"
SNIPPETS: Final = "cpcd uses no snippets"
UPGRADES: Final = "upgrades of Kubernetes are not built yet"

_TRANSPORT: Final = (
    out("T01", "A read that takes longer than the client waits", "http::test_silence_ends_at_the_timeout errors::test_silence_is_not_asked_again"),
    out("T02", "596: the inner hop gave up, the work goes on", "errors::test_lost_inner_hop_of_one_node_is_that_nodes_failure errors::test_write_is_never_repeated"),
    out("T03", "599 between two nodes, done or not", "errors::test_lost_inner_hop_of_no_node_is_the_endpoints"),
    unused("T04", "A ticket that is too old, or clocks that differ", TICKETS),
    out("T05", "A privilege is missing", "luck::test_missing_privileges_are_named luck::test_a_revoked_privilege_is_not_an_empty_proxmox demands::test_a_list_without_our_machines_makes_none"),
    out("T06", "A token that is wrong, disabled or expired", "luck::test_a_refused_token_is_called_that_and_its_return_is_enough real::test_a_wrong_token_is_named_and_its_return_is_enough"),
    out("T07", "The text of an error is lost on the way", "errors::test_text_is_found_in_reason_or_body"),
    out("T08", "The connection is closed without a response", "luck::test_a_build_survives_every_kind_of_broken_answer errors::test_read_survives_two_lost_connections http::test_write_on_a_connection_that_broke_is_sent_once"),
    out("T09", "Nobody listens, or one node is not reached", "stories::test_a_silent_proxmox_parks_its_keys transport::test_dead_node_is_the_nodes_failure http::test_takes_the_next_address_when_one_refuses"),
    out("T10", "Not JSON: the page of a proxy", "errors::test_foreign_answer_is_not_taken_for_the_api"),
    out("T11", "All workers of a node are busy", "http::test_node_is_asked_by_three_readers_and_two_writers_at_most"),
    unused("T12", "A CSRF token is refused", TICKETS),
    out("T13", "Only root may set that option", why="cpcd writes none of these options; met all the same, it is AuthFailed and looked at every five minutes"),
    out("T14", "Parameters are refused", "errors::test_bad_parameters_are_named"),
    out("T15", "A task that is not known yet, or no longer", "errors::test_unknown_task_is_none resolve::test_a_power_task_that_nobody_has_seen_is_absent_after_its_time"),
    out("T16", "A certificate that is not trusted", "http::test_expired_and_unknown_certificates_are_refused_with_the_reason http::test_wrong_fingerprint_names_both real::test_an_expired_certificate_is_called_that"),
    unused("T17", "A second factor, and the lock after wrong ones", TICKETS),
    unused("T18", "One session shared by threads", TICKETS),
)  # fmt: skip

_PROXMOX: Final = (
    out("P01", "Somebody holds the lock file of a VM", "transport::test_held_lock_file_is_waited_for"),
    out("P02", "A VMID that was free is taken", "demands::test_a_vmid_that_the_token_does_not_see_is_somebodys resolve::test_a_failed_clone_goes_on_under_another_vmid_if_its_own_is_the_trouble lab-clone::test_two_clones_to_one_vmid_both_get_a_upid_and_one_wins"),
    out("P03", "The guest agent does not run yet"),
    out("P04", "A resize that ends by its time-out", "lab-destroy::test_slow_resize_times_out_and_may_have_happened life::test_a_disk_is_grown_to_an_absolute_size"),
    out("P05", "A VM that is deleted or migrated already", "stories::test_a_deleted_and_a_stopped_worker_are_repaired luck::test_a_migrated_machine_is_followed"),
    out("P06", "The VMID belongs to somebody else by now", "fields::test_a_vm_is_ours_only_when_every_mark_agrees stories::test_a_machine_whose_vmid_is_another_vms_by_now_is_replaced"),
    out("P07", "Destroy while the VM still runs", "lab-destroy::test_vm_that_started_meanwhile_is_not_destroyed"),
    out("P08", "Somebody holds the lock of a storage", "guards::test_two_clones_of_a_template_node_at_once"),
    out("P09", "A task that succeeded with warnings", "resolve::test_what_is_as_asked_is_done_whatever_the_task_said"),
    out("P10", "A task says OK, and the VM changes later or never", why="cpcd makes no HA resources; a VM that others put under HA behaves like this"),
    out("P11", "A lock in the configuration", "transport::test_locked_vm_is_waited_for"),
    out("P12", "Clones to another node from local storage", "alloc::test_a_machine_is_cloned_from_its_nodes_own_copy_or_a_shared_one lab-clone::test_refusals"),
    own("P13", "SSH keys have to be encoded once more", "lab-config::test_sshkeys_must_be_encoded_once_more fields::test_the_first_options_carry_identity_and_cloud_init stories::test_a_cluster_is_built_from_nothing"),
    out("P14", "A new disk that is not seen yet"),
    out("P15", "The Proxmox cluster has no quorum", "guards::test_nothing_is_written_to_a_proxmox_that_cannot_take_it_whole"),
    out("P16", "The lock of a shared storage is not had"),
    out("P17", "A start that fails, and the VM runs", "resolve::test_what_is_as_asked_is_done_whatever_the_task_said"),
    own("P18", "A failed task is waited for until the time is over", "resolve::test_a_power_task_that_has_not_reached_its_aim"),
    out("P19", "A clone takes longer than any time-out", "resolve::test_a_clone_is_judged_by_its_task_its_config_and_its_age"),
    out("P20", "A write whose reply was lost is written again", "luck::test_a_build_survives_every_kind_of_broken_answer passes::test_an_effect_whose_reply_was_an_error_is_resolved_not_repeated"),
    out("P21", "A worker was killed, or its node died"),
    out("P22", "Half a clone is left, locked and nameless", "resolve::test_a_half_clone_is_quarantined_with_the_commands_that_root_must_type lab-clone::test_killed_clone_leaves_its_lock_and_a_volume_that_nobody_knows"),
    unused("P23", "The agent lists addresses late or strange ones", "addresses are static and come from the file; the agent is asked for the host key only (G04)"),
    out("P24", "The guest agent is too busy to answer"),
    out("P25", "A guest ignores the power button", "lab-power::test_shutdown_with_force_ends_in_a_power_off"),
    out("P26", "No worker can be forked"),
    out("P27", "QEMU does not start", why="starts are staggered by nothing but two writes a node at once"),
    out("P28", "A volume is in use on another node", "guards::test_two_clones_of_a_template_node_at_once"),
    out("P29", "A storage is full", "lab-clone::test_full_storage_fails_the_clone_and_cleans_up"),
    out("P30", "Somebody edits between our read and our write", "transport::test_stale_digest_is_refused_at_once life::test_the_configuration_is_written_against_the_digest_that_was_read"),
    out("P31", "A change that waits for a cold start", "stories::test_an_edit_is_carried_out_as_planned upkeep::test_an_open_disruption_is_carried_to_its_end"),
    out("P32", "A storage is offline or not on that node"),
    out("P33", "The agent is not enabled", "fields::test_the_first_options_carry_identity_and_cloud_init lab-power::test_agent_tells_four_different_things"),
    out("P34", "Two VMs of one name", "faults::test_a_fault_is_survived fields::test_a_vm_is_ours_only_when_every_mark_agrees", why="a foreign VM has the name of ours in every scenario"),
    out("P35", "The cloud-init drive is gone", "demands::test_a_template_that_has_no_cloud_init_drive_is_refused", why="cpcd writes no drive after the clone"),
    out("P36", "The link of a zvol comes late"),
    own("P37", "Disks cannot shrink", "upkeep::test_a_boot_disk_that_cannot_shrink_keeps_off_no_remedy life::test_a_boot_disk_that_the_template_cannot_give_is_not_cloned"),
    out("P38", "A VM is protected", "demands::test_a_protected_machine_is_destroyed_only_when_a_person_lifts_that lab-destroy::test_protected_vm_is_not_destroyed"),
    unused("P39", "A template with linked clones is deleted", "cpcd never deletes a template", "lab-destroy::test_template_with_linked_clones_stays"),
    unused("P40", "The agent forgets what it executed", "cpcd runs nothing through the agent; results are files on the machine", "jobs::test_a_result_outlives_a_reboot"),
    out("P41", "The same task is begun again and again", "guards::test_nothing_touches_the_target_of_somebody_elses_operation"),
)  # fmt: skip

_BOOT: Final = (
    out("G01", "Clones share one machine-id and one lease", "alloc::test_no_two_rows_ever_share_a_vmid_an_address_or_a_name life::test_of_two_machines_with_one_machine_id_the_older_goes_on", why="addresses are static; each machine has its own from the ledger"),
    out("G02", "apt is locked by unattended upgrades", "reasons::test_texts_from_the_failure_corpus_have_their_reason", why="the playbook waits five minutes for the lock, with dnf as long as it may take; this is what comes after"),
    out("G03", "cloud-init ends degraded", "facts::test_cloud_init_is_judged_by_status_not_by_rc"),
    out("G04", "The static address is not taken", "demands::test_a_machine_without_its_address_is_replaced_by_another"),
    unused("G05", "A snippet cannot be uploaded", SNIPPETS),
    unused("G06", "A snippet is on one node only", SNIPPETS),
    out("G07", "SSH answers before its users are there", "ssh::test_when_no_user_is_let_in_all_are_named"),
    out("G08", "SSH answers while the system still boots", "ssh::test_what_a_shell_says_instead_of_a_reply_has_its_code"),
    out("G09", "The hostname comes late, or is another"),
    out("G10", "An edit of cloud-init data makes a new instance", "fields::test_what_people_set_besides_is_left_alone lab-boot::test_another_cloud_init_instance_has_new_host_keys", why="cloud-init data is written before the first start and never after; after an edit by hand a joined machine lets cpcd in no more, which is told within eleven minutes and mended by a person, since no other key than the pinned one is ever believed"),
    out("G11", "The agent is installed by the first boot"),
    out("G12", "A module of cloud-init failed", "facts::test_a_failed_cloud_init_says_why"),
    unused("G13", "Snippets are too large", SNIPPETS),
    out("G14", "The disk grew, its file system did not", "disks::test_a_grown_disk_is_followed_at_one_reboot_as_planned disks::test_what_somebody_else_grew_is_no_reason_for_a_reboot growth::test_what_is_asked_of_a_file_system_is_half_of_the_gain facts::test_the_disk_below_the_root_is_found_through_partitions_and_device_mapper", why="the file system grows at a boot: one reboot, with drain, after a growth that cpcd made; what has not grown by then is said of the machine, and a person's to mend"),
    out("G15", "Somebody else has the address", "demands::test_an_address_that_somebody_else_has_is_given_up lab-boot::test_of_two_machines_with_one_address_the_first_answers"),
    out("G16", "A machine reboots in the middle"),
)  # fmt: skip

_SSH: Final = (
    out("S01", "Nobody answers yet", "ssh::test_a_closed_port_is_an_endpoint_without_answer"),
    out("S02", "Another host key than the pinned one", "demands::test_an_address_that_somebody_else_has_is_given_up ssh::test_a_machine_with_another_host_key_is_not_logged_into life::test_a_pinned_host_key_is_never_replaced_by_what_the_agent_says_later"),
    out("S03", "A command that never returns", "ssh::test_a_connection_that_falls_silent_is_given_up ssh::test_a_call_has_as_long_as_the_spec_says", why="keepalive of 15 s × 3 and a limit for each answer"),
    out("S04", "The connection is lost in the middle", "ssh::test_a_connection_cut_in_the_middle_of_a_command_is_an_endpoint_without_answer ssh::test_after_a_cut_the_next_call_connects_anew unit::test_a_submitted_verb_outlives_its_connection_and_leaves_its_result"),
    own("S05", "A cancelled connection hangs", "ssh::test_a_call_ends_wherever_it_is_cancelled"),
    unused("S06", "Keepalive timers outlive their connection", "mended in the asyncssh that is required"),
    out("S07", "The login is refused", "ssh::test_when_no_user_is_let_in_all_are_named ssh::test_the_next_user_is_tried_when_one_is_refused"),
    out("S08", "sudo or the shell speaks instead", "ssh::test_what_a_shell_says_instead_of_a_reply_has_its_code"),
    unused("S09", "An upload is cut short", "no file is uploaded: a request travels on stdin, framed", "wire::test_what_is_no_reply_is_said"),
    out("S10", "sshd takes no more handshakes", "ssh::test_calls_that_overlap_share_one_connection"),
    unused("S11", "The hypervisor has another address for SSH", "cpcd never logs into a hypervisor"),
)  # fmt: skip

_ANSIBLE: Final = (
    out("R01", "The machine is not reached", "ansible::test_a_machine_that_does_not_answer_is_unreachable"),
    out("R02", "A run that never ends", "ansible::test_a_run_is_ended_at_its_deadline"),
    own("R03", "A cancelled run leaves its children", "ansible::test_a_canceled_run_ends_with_its_children ansible::test_what_a_killed_run_left_alive_is_ended_before_another_begins"),
    own("R04", "A run outlives the daemon", "ansible::test_a_run_survives_the_daemon_and_the_next_daemon_awaits_it"),
    own("R05", "Artifacts fill the disk", "ansible::test_old_runs_are_dropped"),
    own("R06", "Events are missing, and the run succeeded", "ansible::test_a_run_whose_events_are_lost_is_no_success", why="without its final statistics a run counts as failed"),
    own("R07", "The clock steps during a run", "ansible::test_a_run_is_ended_at_its_deadline"),
    own("R08", "The runner takes the daemon's signal handlers", why="a run is a process of its own", tests="ansible::test_a_run_survives_the_daemon_and_the_next_daemon_awaits_it"),
    own("R09", "SSH's control socket is stale or left", "ansible::test_a_run_that_succeeds_is_done_and_leaves_no_input", why="the socket lies in the run's own directory"),
    own("R10", "An exception in a callback leaves the child", why="the process of a run ends its children whatever it died of", tests="ansible::test_what_a_killed_run_left_alive_is_ended_before_another_begins"),
    unused("R11", "Output is cut short at the end", "mended in the ansible-runner that is required; the verdict is of events"),
    own("R12", "Two runs share a directory", "ansible::test_a_known_op_is_not_started_twice"),
    own("R13", "Secrets are left on the disk", "ansible::test_a_run_that_succeeds_is_done_and_leaves_no_input"),
    own("R14", "The return code says another thing than the status", "ansible::test_a_failing_task_is_named_with_its_words_and_reason"),
    unused("R15", "An environment that is not UTF-8", "mended in pexpect; a run gets an environment of its own"),
    out("R16", "sudo answers late on a loaded machine"),
    unused("R17", "Some hosts of a run failed", "a run has one machine"),
)  # fmt: skip

_KUBEADM: Final = (
    out("K01", "A token that is expired or not signed yet", "guestadm::test_join_secrets_are_minted_fresh lab-join::test_unknown_and_expired_tokens_fail_after_the_whole_discovery"),
    out("K02", "What an earlier try left is in the way", "demands::test_a_reset_that_is_cut_short_is_made_again lab-init::test_a_killed_init_is_finished_by_a_repeat"),
    out("K03", "The kubelet never becomes healthy"),
    out("K04", "etcd still lists a member that is dead", "stories::test_a_lost_control_plane_is_replaced lab-join::test_a_dead_voter_stops_the_next_join"),
    out("K05", "A learner that is not in sync", "demands::test_a_join_that_fails_three_times_is_not_tried_for_ever"),
    later("K06", "A static pod that does not change in an upgrade", UPGRADES),
    own("K07", "kube-vip needs the stronger kubeconfig at first", "kubeadm::test_kube_vip_holds_the_endpoint_and_uses_the_stronger_kubeconfig_on_the_first_machine lab-init::test_kube_vip_with_admin_conf_never_gets_its_lease_in_init"),
    out("K08", "The certificate key is expired or another", "lab-join::test_uploaded_certificates_expire_after_two_hours"),
    out("K09", "The container runtime has no CRI", "playbook::test_containerd_2_gets_the_configuration_of_its_own_major"),
    out("K10", "A second learner at the same time", "guards::test_two_control_planes_never_join_at_once guards::test_one_control_plane_disruption_at_a_time lab-join::test_a_second_learner_is_refused"),
    out("K11", "The clock of a machine is off"),
    out("K12", "A Node of that name is there already", "demands::test_a_node_of_that_name_which_is_not_our_machine_is_not_deleted lab-join::test_a_taken_name_is_refused_after_files_were_written"),
    out("K13", "A disruption budget refuses", "demands::test_a_disruption_budget_is_waited_for_and_never_forced upkeep::test_a_drain_past_its_deadline_is_shown_as_stalled_and_never_forced"),
    later("K14", "Certificates end after a year", "nothing renews a machine's certificates; when each ends is read every ten minutes and told from 30 days before, the stored kubeconfig is fetched again, and a refused one is told", "kubeconfig::test_it_is_rewritten_for_a_reason_and_only_then"),
    out("K15", "The virtual address comes late"),
    later("K16", "The virtual address is on two machines", "kube-vip is built and cpcd's own calls are right at either machine, since both API servers are of one etcd; that two have the address is not told: the machines' lists of their own addresses are up to ten minutes old, so that one which has moved between two looks would look the same"),
    out("K17", "A package, its key or its version is missing", "reasons::test_texts_from_the_failure_corpus_have_their_reason"),
    out("K18", "A reset leaves the member listed", "demands::test_a_reset_that_is_cut_short_is_made_again upkeep::test_a_control_plane_leaves_etcd_before_its_node_goes stories::test_control_planes_scale_down_and_up_again"),
    own("K19", "Too many control planes at once", "stories::test_a_new_template_replaces_every_machine guards::test_no_disruption_ever_leaves_less_than_a_majority_of_healthy_voters"),
    out("K20", "An image cannot be pulled"),
    out("K21", "The kubelet's bootstrap hangs"),
    out("K22", "No CNI yet", "cni::test_machines_that_only_wait_for_their_cni_are_left_alone"),
    later("K23", "An upgrade skips a minor", UPGRADES),
)  # fmt: skip

_KUBERNETES: Final = (
    out("C01", "A watch that is silent for ever", "kube::test_a_watch_that_falls_silent_ends_as_unreachable kube::test_silence_is_unreachable_after_the_timeout"),
    out("C02", "A watch from a version that is gone", "kube::test_watch_ends_with_the_server_and_raises_expired port::test_watch_from_a_forgotten_revision_is_expired"),
    out("C03", "The server closes a stream again and again"),
    own("C04", "Clients and threads add up", "links::test_a_cluster_has_one_client_as_long_as_its_credentials_are_the_same links::test_a_client_that_was_replaced_is_closed_while_the_daemon_lives"),
    unused("C05", "A thread pool hangs at the exit", "the client is asyncio's own: no threads"),
    out("C06", "An event is missed"),
    out("C07", "A watch that ends at once"),
    out("C08", "An error inside a stream", "kube::test_an_error_without_a_reason_ends_the_watch_as_a_failure kube::test_watch_ends_with_the_server_and_raises_expired"),
    out("C09", "The server asks for patience", "kube::test_retry_after_of_the_server_is_kept"),
    unused("C10", "The connection pool is full", "aiohttp waits for a free connection"),
    unused("C11", "A watch cannot be stopped", "a cancelled task closes its stream"),
    own("C12", "A new major of the client has other names", "port::test_applied_object_is_stored_once", why="objects are plain dictionaries, and the contract suite is run on the adapter"),
    own("C13", "A call reaches another cluster", "kube::test_two_clusters_keep_apart_whatever_the_environment_says kube::test_another_clusters_api_is_not_trusted", why="a client is made from its cluster's kubeconfig alone"),
    out("C14", "The object was changed meanwhile", "port::test_patch_with_a_stale_revision_is_refused"),
    out("C15", "etcd has no leader for a moment", "kube::test_status_decides_code_and_words"),
)  # fmt: skip

_FILES: Final = (
    out("F01", "An editor renames over the file", "files::test_every_atomic_save_is_noticed"),
    out("F02", "A mounted ConfigMap swaps a link", "files::test_a_mounted_config_map_is_followed"),
    out("F03", "No more inotify watches", "files::test_without_inotify_changes_are_polled"),
    out("F04", "The file or its directory is empty or gone", "files::test_a_directory_that_vanished_is_a_sentence read::test_no_file_at_all_is_a_mistake real::test_a_directory_that_vanished_deletes_nothing"),
    out("F05", "Events are lost under load", "files::test_the_tick_finds_what_no_event_told"),
    out("F06", "The watcher dies", "files::test_without_inotify_changes_are_polled"),
    out("F07", "A file system without events", "files::test_the_tick_finds_what_no_event_told"),
    out("F08", "A half-written file", "load::test_a_half_written_file_is_recognised luck::test_a_daemon_started_on_a_broken_file_keeps_the_last_good_one"),
    own("F09", "Own writes and neighbours wake the daemon", "files::test_foreign_files_wake_nobody"),
    out("F10", "The file is not there at the start", "files::test_a_file_that_appears_later_is_noticed"),
    own("F11", "The watcher's thread outlives its cancellation", "files::test_the_watchers_thread_ends_with_the_watch"),
    unused("F12", "Changes are lost between two reads", "mended in the watchfiles that is required"),
    out("F13", "Several files change one after the other", "files::test_what_is_committed_is_read", why="inside git a commit is taken whole"),
)  # fmt: skip

DNS: Final = "DNS is not built yet"
_DNS: Final = (
    later("N01", "All sessions of Pi-hole are taken", DNS),
    later("N02", "Too many logins a second", DNS),
    later("N03", "The session has expired", DNS),
    later("N04", "The record is there already", DNS),
    later("N05", "The record is gone already", DNS),
    later("N06", "The path of an older version", DNS),
    later("N07", "A wrong password that is answered with 200", DNS),
    later("N08", "The configuration is read-only", DNS),
    later("N09", "A setting comes from the environment", DNS),
    later("N10", "DNS is out for seconds after a write", DNS),
    later("N11", "Two writers replace each other's records", DNS),
    later("N12", "Two addresses of one name after a move", DNS),
    later("N13", "Caches still know the old address", DNS),
    later("N14", "The names that cpcd itself needs", DNS),
)  # fmt: skip

_DAEMON: Final = (
    own("D01", "Files and sockets are not closed", "http::test_whatever_becomes_of_a_call_its_socket_is_closed links::test_a_client_that_was_replaced_is_closed_while_the_daemon_lives"),
    own("D02", "A power cut while state is written", "journal::test_a_commit_survives_the_process journal::test_a_torn_page_is_noticed"),
    out("D03", "The disk is full", "luck::test_a_disk_that_takes_no_writes_stops_all_changes journal::test_check_finds_a_nearly_full_disk real::test_a_full_disk_stops_changes_before_they_start"),
    own("D04", "Damaged state is read as none", "luck::test_a_corrupt_ledger_is_kept_and_nothing_is_changed luck::test_a_lost_ledger_is_not_an_empty_proxmox"),
    own("D05", "What cannot succeed is tried for ever", "dispatch::test_what_only_the_world_can_change_is_looked_at_every_five_minutes demands::test_a_join_that_fails_three_times_is_not_tried_for_ever"),
    out("D06", "A machine is forgotten although its destroy failed", "resolve::test_a_destroy_is_done_only_when_the_vm_is_proved_absent"),
    own("D07", "A crash between the call and its handle", "stories::test_crashes_anywhere_leave_nothing_double_and_nothing_behind passes::test_the_next_process_resolves_what_the_killed_one_had_begun"),
    own("D08", "Something does not stop when it is told to", "supervisor::test_stop_waits_until_every_service_has_cleaned_up"),
    own("D09", "Two daemons at once", "journal::test_a_second_daemon_is_told_who_has_the_directory real::test_a_second_daemon_is_told_who_has_the_directory"),
    out("D10", "What a dead daemon began goes on", "ansible::test_a_run_survives_the_daemon_and_the_next_daemon_awaits_it jobs::test_a_known_op_is_not_started_twice"),
    own("D11", "Killed for want of memory", "stories::test_crashes_during_a_rollout_spend_nothing"),
    out("D12", "The clock steps", "luck::test_a_clock_that_steps_during_a_build_harms_nothing luck::test_a_clock_that_steps_is_no_reason_to_repair_anything"),
    out("D13", "Everything comes back at once after an outage", "backoff::test_pauses_are_spread_over_the_whole_range dispatch::test_keys_park_on_a_silent_endpoint_and_are_woken_by_its_owner"),
    out("D14", "One call that hangs holds up all others", "dispatch::test_passes_under_way_are_bounded http::test_silence_ends_at_the_timeout"),
    out("D15", "The port of the pages is in use", "pages::test_a_port_in_use_is_a_failure_to_live_with real::test_a_metrics_port_in_use_degrades_and_no_more", still="no fault of the lab, and so in no story: the pages are the process's own, which the simulation does not run; what happens is as it should be, by these tests, which take a real port from the real adapter and the real process"),
)  # fmt: skip

ROWS: Final = (
    *_TRANSPORT, *_PROXMOX, *_BOOT, *_SSH, *_ANSIBLE, *_KUBEADM, *_KUBERNETES, *_FILES, *_DNS, *_DAEMON,
)  # fmt: skip
