"""What the simulated daemon tells: a small street of hearths."""

from typing import Any

from models.core.card import Card

SPARK_ID = "k3v5x2abqpzr7mtnw4y6dchjfsuolgei23k3v5x2abqpzr7mtnwa"
EMBER_ID = "mq7wz4tdhb3ynkxc5ovrpj2sfeulagi6m4mq7wz4tdhb3ynkxc5q"
ATTIC_ID = "a2f6jrkx7dpwqznt3mbvhsyc4eugoil5ita2f6jrkx7dpwqznt3q"

MODEL: dict[str, Any] = {
    "name": "smollm2-135m",
    "digest": "5f1c8a03d2b94e67b0a1f8c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f607",
    "size_bytes": 98_087_104,
    "licence": "Apache-2.0",
    "passed_on": True,
    "description": "SmolLM2-135M-Instruct, the smallest that holds a conversation",
    "trained_on": "English web text and code",
    "bad_at": "facts",
    "loaded": True,
    "loading": False,
    "converted_percent": 0,
    "pinned": False,
    "damaged": False,
    "used_ago_s": None,
}
HELD = {key: MODEL[key] for key in ("name", "digest", "size_bytes", "licence", "passed_on")}
STORIES: dict[str, Any] = {
    "name": "stories-42m",
    "digest": "c0ffee11d2b94e67b0a1f8c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f607",
    "size_bytes": 44_100_000,
    "licence": "MIT",
    "passed_on": True,
    "description": "writes children's stories",
    "trained_on": "unknown",
    "bad_at": "unknown",
    "loaded": False,
    "loading": False,
    "converted_percent": 0,
    "pinned": False,
    "damaged": False,
    "used_ago_s": None,
}

BUNDLE = b"what hearth models export wrote" * 50_000

MESH_MODELS: dict[str, Any] = {
    "models": [
        {
            **HELD,
            "licence": "Llama-3.2",
            "passed_on": False,
            "here": False,
            "holders": [{"node_id": EMBER_ID, "name": "workshop", "hops": 1}],
            "holder_count": 3,
            "disk_bytes": 392_348_416,
            "memory_bytes": 218_608_880,
            "shortfalls": ["needs about 392 MB of disk with its converted forms, 100 MB free"],
            "published_by": [],
            "retired": "by kitchen (k3v5x2ab): it lies",
        },
        {
            **{key: STORIES[key] for key in HELD},
            "here": True,
            "holders": [],
            "holder_count": 0,
            "disk_bytes": 176_400_000,
            "memory_bytes": 151_125_000,
            "shortfalls": [],
            "published_by": ["workshop (mq7wz4td)"],
            "retired": "",
        },
    ],
    "left_out": 0,
    "untold": 0,
}

ON_RECORD: dict[str, Any] = {
    "name": STORIES["name"],
    "digest": STORIES["digest"],
    "licence": "MIT",
    "published_by": ["kitchen (k3v5x2ab)"],
    "retired": "",
}
CONTRIBUTIONS: dict[str, Any] = {
    "givers": [
        {
            "node_id": EMBER_ID,
            "name": "workshop",
            "member": True,
            "answers": 14,
            "tokens": 3500,
            "model_bytes": 98_087_104,
            "receivers": [
                {"node_id": SPARK_ID, "name": "kitchen", "answers": 12, "tokens": 3456, "model_bytes": 98_087_104},
                {"node_id": ATTIC_ID, "name": "attic", "answers": 2, "tokens": 44, "model_bytes": 0},
            ],
        },
        {
            "node_id": ATTIC_ID,
            "name": "attic",
            "member": False,
            "answers": 0,
            "tokens": 0,
            "model_bytes": 98_087_104,
            "receivers": [
                {"node_id": SPARK_ID, "name": "kitchen", "answers": 0, "tokens": 0, "model_bytes": 98_087_104}
            ],
        },
    ]
}
COUNCIL: dict[str, Any] = {
    "community": "willow street",
    "rule": "3 voters: all must agree",
    "seats": [
        {"node_id": SPARK_ID, "name": "kitchen", "this_node": True, "left": False, "paper": False},
        {"node_id": EMBER_ID, "name": "workshop", "this_node": False, "left": False, "paper": True},
        {"node_id": ATTIC_ID, "name": "attic", "this_node": False, "left": True, "paper": False},
    ],
    "quorum": 3,
    "margin": 0,
    "notice": 0,
    "invitations": 16,
    "invitations_left": 12,
    "decided": 2,
    "fixed": {"entries": 9, "root": "6d" * 32, "signed": ["kitchen", "workshop"], "disputed": []},
    "votes": True,
    "forked": [],
    "motions": [
        {
            "id": "c3" * 32,
            "says": "workshop (mq7wz4td) proposes to remove attic (a2f6jrkx): its board is lost",
            "agreed": ["workshop"],
            "waiting": ["kitchen"],
            "seen": 2,
            "answer": "",
        }
    ],
    "begun": [],
}

LOG: list[dict[str, Any]] = [
    {
        "number": number,
        "id": f"{number:02x}" * 32,
        "kind": kind,
        "node_id": node_id,
        "name": name,
        "seq": number,
        "says": says,
        "model": model,
        "counts": counts,
    }
    for number, (kind, node_id, name, says, model, counts) in enumerate(
        [
            ("genesis", SPARK_ID, "kitchen", "kitchen (k3v5x2ab) founded the community willow street", "", True),
            ("admit", SPARK_ID, "kitchen", "kitchen (k3v5x2ab) let workshop (mq7wz4td) in as an observer", "", True),
            (
                "retire",
                EMBER_ID,
                "workshop",
                "workshop (mq7wz4td) retired stories-42m (c0ffee11)",
                MODEL["digest"],
                False,
            ),
        ],
        1,
    )
]

VERIFICATION: dict[str, Any] = {
    "verification": {
        "models": [
            {"name": STORIES["name"], "digest": STORIES["digest"], "sound": True, "repaired": False, "damage": []}
        ]
    }
}

CARD: dict[str, Any] = {
    "name": STORIES["name"],
    "digest": STORIES["digest"],
    "shared": True,
    "reason": "MIT: anyone may pass copies on; keep the notices with them",
    "hint": "",
    "publisher": "",
    "signed_by": "",
    "published_by": [],
    "retired": "",
    "card": Card(name="Stories 42M", licence="MIT", bad_at="facts\nand figures", parents=()).to_fields(),
}
_TALES: dict[str, Any] = {
    "name": "Tales 42M",
    "digest": "7a1e5a11d2b94e67b0a1f8c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f607",
    "relation": "fine-tuned",
    "source": "https://example.org/tales",
    "licence": "MIT",
    "recipe": "three evenings",
    "tools": ["trainer 2.0"],
    "publisher": "ab" * 32,
    "signed_by": "workshop (mq7wz4td)",
    "here": True,
    "parents": [],
    "cut": False,
}
_NOBODY: dict[str, Any] = {"publisher": "", "signed_by": "", "tools": []}
_NOTHING = {"source": "unknown", "licence": "unknown", "recipe": "unknown", **_NOBODY}
_AGAIN = _TALES | {"relation": "unknown", "parents": None, "cut": True}
LINEAGE: dict[str, Any] = {
    **_TALES,
    "name": "Stories 42M",
    "digest": STORIES["digest"],
    "relation": "",
    **_NOTHING,
    "licence": "MIT",
    "parents": [
        _TALES | {"parents": [_AGAIN, _AGAIN | {"name": "Sagas", "parents": None, "cut": False}]},
        {"name": "Rumours", "digest": "unknown", "relation": "merged", **_NOTHING, "here": False, "parents": None},
    ],
}

STATUS: dict[str, Any] = {
    "node_id": SPARK_ID,
    "name": "kitchen",
    "version": "0.1.0",
    "uptime_s": 8065.0,
    "http": {"host": "127.0.0.1", "port": 4327},
    "https": None,
    "mqtt": {"port": 8883, "broker": "mosquitto"},
    "door": {"port": 8884},
    "community": {
        "id": "e2" * 32,
        "name": "willow street",
        "epoch": 3,
        "state": "5a" * 32,
        "entries": 3,
        "members": [
            {"node_id": SPARK_ID, "name": "kitchen", "role": "voter"},
            {"node_id": EMBER_ID, "name": "workshop", "role": "observer"},
            {"node_id": ATTIC_ID, "name": "attic", "role": "observer"},
        ],
    },
    "neighbours": [
        {
            "node_id": EMBER_ID,
            "name": "workshop",
            "state": "linked",
            "since_s": 7980.0,
            "hops": 1,
            "trouble": "",
            "models": [HELD],
        },
        {
            "node_id": ATTIC_ID,
            "name": "attic",
            "state": "unreachable",
            "since_s": 412.0,
            "hops": 0,
            "trouble": "192.168.1.33 port 8883: no answer",
            "models": [],
        },
    ],
    "models": [STORIES],
    "memory": {
        "rss_bytes": 61_200_000,
        "available_bytes": 3_140_000_000,
        "engine_anonymous_bytes": 145_000_000,
        "engine_file_bytes": 120_000_000,
    },
    "queries": {"running": 0, "waiting": 0, "answered": 12, "asked": 3},
    "queue": {"owner": 0, "own": 0, "guest": 0, "neighbour": 0, "share": 1.0, "reason": ""},
    "guests": {
        "open": False,
        "urls": [],
        "https_urls": [],
        "fingerprint": "",
        "phones": 0,
        "guest_keys": 0,
        "shows_key": False,
        "per_minute": 0,
        "per_day": 0,
    },
    "warnings": [],
}

PEERS: dict[str, Any] = {
    "nearby": [
        {"node_id": EMBER_ID, "addresses": ["192.168.1.21"], "member": True},
        {"node_id": "t" * 52, "addresses": ["192.168.1.40"], "member": False},
    ],
    "members": STATUS["community"]["members"],
}

DIAGNOSIS: dict[str, Any] = {
    "sound": False,
    "members": 2,
    "reached": 1,
    "findings": [
        {"severity": "note", "what": "shed is blocked on this node", "remedy": "hearth peers unblock t2t2t2t2"},
        {
            "severity": "fault",
            "what": "attic is in sight, but cannot be reached: 192.168.1.33 port 8883: no answer",
            "remedy": "let TCP 8883 through its firewall",
        },
    ],
}

CATALOGUE: list[dict[str, Any]] = [
    {key: MODEL[key] for key in ("name", "size_bytes", "licence", "description")} | {"present": False},
    {key: STORIES[key] for key in ("name", "size_bytes", "licence", "description")} | {"present": True},
]

OFFER: dict[str, Any] = {
    "words": "amber river stone candle orbit maple",
    "qr": "hearth:mq7wz4tdhb3ynkxc:6f1c8a03d2b94e67b0a1f8c3d4e5f607",
    "expires_in_s": 600.0,
    "node_id": SPARK_ID,
    "name": "kitchen",
    "fingerprint": "k3v5-x2ab-qpzr-7mtn",
}

HTTPS: dict[str, Any] = {"port": 4328, "fingerprint": ":".join(f"{number:02X}" for number in range(0xA0, 0xC0))}

GUESTS: dict[str, Any] = {
    "open": True,
    "urls": [f"http://{host}:4327/#k=hk_{'g' * 32}" for host in ("kitchen.local", "192.168.1.20")],
    "phones": 2,
    "guest_keys": 1,
    "shows_key": True,
    "per_minute": 6,
    "per_day": 50_000,
}

KEYS: list[dict[str, Any]] = [
    {
        "id": "5f1c8a03",
        "name": "laptop",
        "scopes": ["ask", "embed"],
        "guest": False,
        "used_ago_s": 7500,
        "per_minute": 0,
        "per_day": 1000,
        "tokens_left": 880,
        "renews_in_s": 82_860,
    },
    {
        "id": "c0ffee11",
        "name": "guests",
        "scopes": ["ask"],
        "guest": True,
        "used_ago_s": None,
        "per_minute": 6,
        "per_day": 0,
        "tokens_left": None,
        "renews_in_s": None,
    },
]

PULL: list[dict[str, Any]] = [
    {"stage": "resolve", "done": 0, "total": 0},
    {"stage": "download", "done": 0, "total": 98_087_104},
    {"stage": "download", "done": 40_000_000, "total": 98_087_104},
    {"stage": "download", "done": 98_087_104, "total": 98_087_104},
    {"stage": "verify", "done": 98_087_104, "total": 98_087_104},
    {"stage": "install", "done": 98_087_104, "total": 98_087_104},
    {"stage": "convert", "done": 100, "total": 100},
]
