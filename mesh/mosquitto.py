"""What mosquitto is told: its configuration and its access list.  Works with 2.0.11 and later 2.0 releases."""

import os
import pwd
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mesh.core.mqtt_packets import MAX_PACKET_BYTES
from mesh.core.topic_policy import CommonName

CONNECTED = re.compile(r"New client connected from \S+ as (\S+) \(")


@dataclass(frozen=True, kw_only=True)
class BrokerFiles:
    """What a broker of either kind is started with."""

    directory: Path  # for what is written at each start
    ca: Path
    certificate: Path
    key: Path


def find_mosquitto() -> str | None:
    """Find the program; a user's PATH often leaves out the directories it lives in."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def configuration(*, files: BrokerFiles, access_list: Path, port: int, bind_address: str | None) -> str:
    """Write mosquitto.conf."""
    lines = [
        # Who may connect, and as whom: the certificate's common name is user name and client id.
        f"listener {port} {bind_address}" if bind_address else f"listener {port}",
        "allow_anonymous false",
        f"cafile {files.ca}",
        f"certfile {files.certificate}",
        f"keyfile {files.key}",
        "tls_version tlsv1.3",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        f"acl_file {access_list}",
        # Bounds: a stalled owner or a flood costs this much memory at most.
        "max_connections 512",
        "memory_limit 134217728",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "max_inflight_messages 64",
        "max_queued_messages 4096",
        "max_queued_bytes 16777216",
        # Nothing outlives a connection.
        "persistence false",
        "retain_available false",
        "sys_interval 0",
        "set_tcp_nodelay true",  # without it every round trip costs 44 ms
        "log_dest stderr",
        "log_timestamp false",
        "log_type error",
        "log_type warning",
        "log_type notice",  # names who connects: how a removed neighbour is noticed
    ]
    if os.getuid() == 0:  # else it drops to a user that cannot read the keys
        lines.insert(0, f"user {pwd.getpwuid(0).pw_name}")
    return "\n".join(lines) + "\n"


def access_list(clients: Iterable[CommonName]) -> str:
    """Write the topic policy as explicit lines for each user."""
    lines: list[str] = []
    for client in clients:
        lines.append(f"user {client}")
        lines += [f"topic {right.action} {right.topic_filter}" for right in client.rights()]
    return "\n".join(lines) + "\n"


def connected_client(line: str) -> str | None:
    """Read the client id out of a log line that tells of a new client."""
    match = CONNECTED.search(line)
    return match[1] if match else None
