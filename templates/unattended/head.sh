#!/bin/sh
# Makes this machine a Docker host, unattended, with rprov {version}. May be run again: it goes on, or finds nothing to do.
# Afterwards: /run/rprov/result.json says how it ended, /var/log/rprov has the whole output.
{note}set -u
umask 022
say() { echo "rprov: $*"; }
