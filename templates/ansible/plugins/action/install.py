# Copyright The authors of rprov
# SPDX-License-Identifier: Apache-2.0
"""Carries rprov, its configuration and its keys to the host, before the module of this name runs there."""

import hashlib
import os

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.hashing import secure_hash


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        super(ActionModule, self).run(tmp, task_vars)
        options = dict(self._task.args)
        carried = []
        for dest, src, mode in self._wanted(options):
            # The host would put something else for them, and this does not know what.
            if not dest.startswith("/") or "$" in dest:
                raise AnsibleActionFail("cannot carry a file to `%s`: it has to be a whole path, without ~ and $" % dest)
            file = self._find_needle("files", src)
            carried.append(self._carry(file, dest, mode, task_vars))
        options["carried"] = carried
        return self._execute_module(module_name="rprov.host.install", module_args=options, task_vars=task_vars)

    def _wanted(self, options):
        """A place on the host, a file of the controller, and the mode that it has there."""
        if not options.get("binary"):
            raise AnsibleActionFail("missing required arguments: binary")
        yield options.get("path") or "/usr/local/bin/rprov", options["binary"], "0755"
        if options.get("config"):
            yield "/etc/rprov/config.toml", options["config"], "0600"
        if options.get("locked"):
            yield "/etc/rprov/rprov.lock", options["locked"], "0600"
        for key in options.get("keys") or []:
            if not isinstance(key, dict) or not key.get("src") or not key.get("dest"):
                raise AnsibleActionFail("each of `keys` needs `src` and `dest`")
            yield key["dest"], key["src"], "0600"

    def _carry(self, file, dest, mode, task_vars):
        """What the host has already, and nobody else may read or write, is not sent again."""
        # Decrypted, where it is from the vault.
        real = self._loader.get_real_file(file)
        try:
            sha256 = secure_hash(real, hashlib.sha256)
            there = self._there(dest, task_vars)
            if [there.get(name) for name in ("checksum", "uid", "gid", "mode")] == [sha256, 0, 0, mode]:
                return {"dest": dest, "src": None}
            # Named by what it is: two of one name do not meet.
            src = self._connection._shell.join_path(
                self._connection._shell.tmpdir, "%s-%s" % (sha256[:12], os.path.basename(dest))
            )
            self._transfer_file(real, src)
            self._fixup_perms2([self._connection._shell.tmpdir, src], execute=True)
            return {"dest": dest, "src": src}
        finally:
            self._loader.cleanup_tmp_file(real)

    def _there(self, path, task_vars):
        asked = {"path": path, "checksum_algorithm": "sha256", "get_mime": False, "get_attributes": False}
        told = self._execute_module(module_name="ansible.builtin.stat", module_args=asked, task_vars=task_vars)
        if told.get("failed"):
            raise AnsibleActionFail("cannot look at %s: %s" % (path, told.get("msg")))
        return told["stat"]
