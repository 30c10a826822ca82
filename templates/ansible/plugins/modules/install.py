#!/usr/bin/python
# Copyright The authors of rprov
# SPDX-License-Identifier: Apache-2.0

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: install
short_description: Make a host a Docker host
version_added: "{version}"
description:
  - Carries C(rprov) to the host and runs C(rprov install) there, which brings Docker Engine from its signed source,
    and with O(gpu) what a card of NVIDIA's needs.
  - What is as it should be is left alone. What was changed can be taken back on the host with C(rprov uninstall).
  - Needs root on the host, so usually C(become).
requirements:
  - Python 3.6 or later on the host
  - a host that runs systemd, of a distribution that C(rprov profile list) names
author:
  - The authors of rprov (@rprov)
attributes:
  check_mode:
    support: full
    description: Runs C(rprov plan), from a temporary directory where the host has no rprov yet. Nothing stays.
  diff_mode:
    support: full
    description: The lines of the plan in check mode, otherwise those of the changes that were made.
  platform:
    support: full
    description: Linux
    platforms: linux
  async:
    support: none
    description: Files are carried, which Ansible does in the foreground.
options:
  binary:
    description:
      - The program C(rprov) on the controller, built for the architecture of the host.
      - It is sent only where the host has another one, by its SHA-256.
    type: path
    required: true
  path:
    description: Where the host keeps the program.
    type: path
    default: /usr/local/bin/rprov
  config:
    description: A configuration file on the controller, which becomes C(/etc/rprov/config.toml) of the host.
    type: path
  keys:
    description: Key files that the configuration names.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: The file on the controller.
        type: path
        required: true
      dest:
        description: Where it is on the host, as the configuration names it.
        type: path
        required: true
  users:
    description: Users that are put into the docker group, which is as much as root. They have to exist.
    type: list
    elements: str
    default: []
  version:
    description: The engine's version, or the front of one, such as V(29) or V(28.5).
    type: str
  channel:
    description: Which releases to take.
    type: str
    choices: [stable, test]
  engine:
    description: Whose engine, that of Docker or the distribution's own.
    type: str
    choices: [docker, distribution]
  gpu:
    description: What a card of NVIDIA's needs. V(on) wants a card, V(auto) takes what the host has.
    type: str
    choices: ["on", "auto", "toolkit", "off"]
  driver:
    description:
      - The card's driver, by branch (V(580)), modules (V(open), V(proprietary)), both (V(580-open)), or V(none).
    type: str
  gpu_default_runtime:
    description: Run every container under NVIDIA's runtime, asked for or not.
    type: bool
    default: false
  with:
    description: More than the engine, by name, such as V(rootless-extras), V(model) or V(registry).
    type: list
    elements: str
    default: []
  registry_image:
    description: The image for V(registry) in O(with), an archive of C(docker save) on the host.
    type: path
  mirror:
    description: A mirror of Docker's packages, by name. What it serves is still Docker's by signature.
    type: str
  locked:
    description: A lock file on the controller, as C(rprov lock) writes it. Exactly what it says is installed.
    type: path
  upgrade:
    description: Go to the newest version within O(version).
    type: bool
    default: false
  allow_downgrade:
    description: Go to an older version than the installed one, where that is asked for.
    type: bool
    default: false
  hold:
    description: Hold the engine's packages at their version.
    type: bool
    default: false
  smoke:
    description: Prove the engine with a container, where something was changed.
    type: bool
    default: true
  wait:
    description: How long to wait for locks and for the clock, such as V(90s) or V(10m).
    type: str
  carried:
    description: What the action plugin has carried. It sets this itself.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: A Docker host that alice may use
  rprov.host.install:
    binary: /usr/local/bin/rprov
    users: [alice]
  become: true

- name: With whatever the host's card needs
  rprov.host.install:
    binary: "{{ rprov_binary }}"
    gpu: auto
  become: true
  register: docker
  # A lock is held, or a mirror is away.
  until: not (docker.try_again | default(false))
  retries: 10
  delay: 15

- name: What a driver needs
  ansible.builtin.reboot:
  become: true
  when: docker.reboot_required
"""

RETURN = r"""
reboot_required:
  description: Whether a reboot is needed to finish. What is left runs by itself after it, or with this module again.
  returned: when rprov ran
  type: bool
try_again:
  description: Whether nothing is wrong, and it may be tried again. A lock is held, or the network or a mirror is away.
  returned: when rprov ran
  type: bool
exit_code:
  description: The exit code of rprov.
  returned: when rprov ran
  type: int
changes:
  description: What was changed, or in check mode would be, with C(sign), C(kind), C(name) and C(text).
  returned: when rprov ran
  type: list
  elements: dict
notes:
  description: What a person should know.
  returned: when rprov ran
  type: list
  elements: str
error:
  description: What could not be done, with C(what), C(because), C(output), C(hint) and C(log).
  returned: when rprov failed
  type: dict
log:
  description: The file on the host with the output of the commands.
  returned: when commands were run
  type: str
receipt:
  description: The receipt of the changes, on the host.
  returned: when something was changed
  type: str
"""

import errno
import json
import os
import re
import shutil

from ansible.module_utils.basic import AnsibleModule

# Exit codes of rprov.
USAGE = 2
REFUSED = 4
TRY_AGAIN = 5
REBOOT = 6
CONFIG = "/etc/rprov/config.toml"
LOCK = "/etc/rprov/rprov.lock"
SIGNS = {"add": "+", "remove": "-", "change": "~"}


class Said:
    """What rprov said: its exit code, and its stream of events."""

    def __init__(self, exit_code, out, err):
        self.exit_code = exit_code
        self.err = err
        self.events = []
        for line in out.splitlines():
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.err += line + "\n"

    def all(self, name):
        return [event for event in self.events if event.get("event") == name]

    def last(self, name):
        return (self.all(name) or [{}])[-1]

    def changed_nothing(self):
        return not self.all("changed") and not self.last("finished").get("receipt")

    def error(self):
        error = self.last("error")
        if not error:
            return "rprov ended with exit code %d: %s" % (self.exit_code, self.err.strip())
        words = [": ".join([error["what"]] + error["because"])] + error["output"]
        if error["hint"]:
            words.append("hint: " + error["hint"])
        return "\n".join(words)


def arguments(params):
    words = []
    for name in ("version", "channel", "engine", "gpu", "driver", "registry_image", "mirror"):
        if params[name] is not None:
            words.append("--%s=%s" % (name.replace("_", "-"), params[name]))
    for name in ("gpu_default_runtime", "upgrade", "allow_downgrade", "hold"):
        if params[name]:
            words.append("--" + name.replace("_", "-"))
    words.extend("--user=" + user for user in params["users"])
    words.extend("--with=" + name for name in params["with"])
    return words


def run(module, words):
    try:
        # As a login of root's has it: packages make files of their own.
        told = module.run_command(words, cwd="/", umask=0o022, expand_user_and_vars=False, handle_exceptions=False)
    except OSError as error:
        hints = {
            errno.ENOEXEC: ": is it built for %s?" % os.uname()[4],
            errno.EACCES: "\nhint: is %s mounted noexec? Set `ansible_remote_tmp` to a directory where programs may run"
            % os.path.dirname(words[0]),
        }
        module.fail_json(msg="cannot run rprov: %s%s" % (error, hints.get(error.errno, "")))
    return Said(*told)


def beside(files, tmp):
    """The options that name what was carried, before it is in its place."""
    words = []
    if LOCK in files:
        words.append("--locked=" + files[LOCK])
    if CONFIG in files:
        with open(files[CONFIG], "rb") as file:
            text = file.read()
        # A path counts where it is a whole string: it may be the front of another.
        paths = b"|".join(re.escape(dest.encode()) for dest in files)
        text = re.sub(
            b"([\"'])(" + paths + b")\\1",
            lambda found: found.group(1) + files[found.group(2).decode()].encode() + found.group(1),
            text,
        )
        config = os.path.join(tmp, "config.toml")
        with open(config, "wb") as file:
            file.write(text)
        words.append("--config=" + config)
    return words


class Place:
    """Where a file belongs, and what was there before."""

    def __init__(self, dest, kept):
        self.dest = dest
        self.kept = kept if os.path.lexists(dest) else None
        if self.kept:
            copy(dest, kept)
        self.missing = []
        above = os.path.dirname(dest)
        while not os.path.isdir(above):
            self.missing.append(above)
            above = os.path.dirname(above)

    def fill(self, module, src, mode):
        for directory in reversed(self.missing):
            os.mkdir(directory)
            os.chmod(directory, 0o755)
        module.atomic_move(src, self.dest)
        module.set_owner_if_different(self.dest, "root", False)
        module.set_group_if_different(self.dest, "root", False)
        module.set_mode_if_different(self.dest, mode, False)

    def put_back(self):
        if self.kept:
            beside = self.dest + ".before"
            copy(self.kept, beside)
            os.rename(beside, self.dest)
        else:
            os.remove(self.dest)
        for directory in self.missing:
            os.rmdir(directory)


def copy(src, dest):
    """With its owner, mode and times; a link stays one."""
    stat = os.lstat(src)
    shutil.copyfile(src, dest, follow_symlinks=False)
    os.lchown(dest, stat.st_uid, stat.st_gid)
    shutil.copystat(src, dest, follow_symlinks=False)


def tell(module, said, steps, placed):
    """Ends the module with what rprov said; `steps` are what was changed, or would be."""
    carried = [{"sign": "change", "kind": "file", "name": dest, "text": "carried from the controller"} for dest in placed]
    lines = carried + [line for step in steps for line in step["lines"]]
    notes = [note["text"] for note in said.all("note")]
    finished = said.last("finished")
    result = dict(
        # Not `rc`: any but 0 of that name is a failure to Ansible, and here a reboot is none.
        exit_code=said.exit_code,
        changed=bool(lines),
        changes=lines,
        diff={"prepared": "".join("%s %s: %s\n" % (SIGNS[line["sign"]], line["name"], line["text"]) for line in lines)},
        notes=notes,
        try_again=said.exit_code == TRY_AGAIN,
        reboot_required=said.exit_code == REBOOT,
        log=finished.get("log"),
        receipt=finished.get("receipt"),
    )
    if module.check_mode:
        # What `install` would not do is a note of the plan.
        for note in notes:
            module.warn(note)
    if said.exit_code in (0, REBOOT):
        module.exit_json(**result)
    module.fail_json(msg=said.error(), error=said.last("error"), **result)


def main():
    key = dict(src=dict(type="path", required=True), dest=dict(type="path", required=True))
    module = AnsibleModule(
        argument_spec={
            "binary": dict(type="path", required=True),
            "path": dict(type="path", default="/usr/local/bin/rprov"),
            "config": dict(type="path"),
            "keys": dict(type="list", elements="dict", options=key, default=[], no_log=False),
            "users": dict(type="list", elements="str", default=[]),
            "version": dict(type="str"),
            "channel": dict(type="str", choices=["stable", "test"]),
            "engine": dict(type="str", choices=["docker", "distribution"]),
            "gpu": dict(type="str", choices=["on", "auto", "toolkit", "off"]),
            "driver": dict(type="str"),
            "gpu_default_runtime": dict(type="bool", default=False),
            "with": dict(type="list", elements="str", default=[]),
            "registry_image": dict(type="path"),
            "mirror": dict(type="str"),
            "locked": dict(type="path"),
            "upgrade": dict(type="bool", default=False),
            "allow_downgrade": dict(type="bool", default=False),
            "hold": dict(type="bool", default=False),
            "smoke": dict(type="bool", default=True),
            "wait": dict(type="str"),
            # Where each file belongs, and where on the host it lies now.
            "carried": dict(type="list", elements="dict", default=[]),
        },
        supports_check_mode=True,
    )
    params = module.params
    # What is carried is nobody else's at any moment.
    os.umask(0o077)
    if os.geteuid() != 0:
        module.fail_json(msg="rprov needs root on the host: set `become: true`")
    files = dict((file["dest"], file["src"] or file["dest"]) for file in params["carried"])
    missing = sorted(dest for dest, src in files.items() if src != dest)
    asked = ["--json"] + arguments(params)

    if missing or module.check_mode:
        # Also where it is for real: on a host that rprov does not take nothing is put.
        said = run(module, [files[params["path"]], "plan"] + asked + beside(files, module.tmpdir))
        taken = said.exit_code not in (USAGE, REFUSED)
        if module.check_mode or not taken:
            tell(module, said, said.last("plan").get("steps", []) if taken else [], missing if taken else [])

    places = []
    for dest in missing:
        place = Place(dest, os.path.join(module.tmpdir, "before-%d" % len(places)))
        place.fill(module, files[dest], 0o755 if dest == params["path"] else 0o600)
        places.append(place)
    given = [(params["locked"], "--locked=" + LOCK), (not params["smoke"], "--no-smoke")]
    given.append((params["wait"], "--wait=%s" % params["wait"]))
    words = [word for is_given, word in given if is_given]
    said = run(module, [params["path"], "install", "--yes"] + asked + words)
    if said.changed_nothing() and said.exit_code in (USAGE, REFUSED):
        # The last one first: it lies in directories that were made for an earlier one.
        for place in reversed(places):
            place.put_back()
        missing = []
    tell(module, said, said.all("changed"), missing)


if __name__ == "__main__":
    main()
