"""Events of an invented web shop as JSON Lines: what they look like, and how they are made fast.

An event is the template of its kind, filled with fresh ids, times and amounts and with pieces of
a world of users, devices and products that is made once. So names come back, as in a real log,
and no two events are alike.

Only the parts of the random generator are used that give the same in every Python.
"""

import re
import time
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

import orjson
from world import World, make_world

BATCH = 1000  # events made from one random generator
RATE = 50  # events in a second of the shop's time
EPOCH = 1_767_225_600  # the first event's second: 2026-01-01


def batches(seed: int) -> Iterator[list[bytes]]:
    """Give events endlessly as lines, in lists of `BATCH`; batch n depends on seed and n only."""
    world = make_world(Random(f"world {seed}"))
    for number in count():
        yield batch(world, Random(f"batch {seed} {number}"), EPOCH + number * BATCH // RATE)


def batch(world: World, random: Random, start: int) -> list[bytes]:
    """Make the lines of one batch, in the order of their times, from the second `start` on."""
    kinds = random.choices(KINDS, k=BATCH)
    opened = heads(world, random, [kind for kind, _ in kinds], start)
    return [
        b"%b,%b\n" % (head[:-1], body(world, random)[1:])
        for head, (_, body) in zip(opened, kinds, strict=True)
    ]


def template(shape: dict[str, Any]) -> bytes:
    """Encode a shape whose strings hold %-places; a string that begins with = loses its quotes."""
    return re.sub(rb'"=([^"]*)"', rb"\1", orjson.dumps(shape))


HEAD = template(
    {
        "id": "%b-%b-%b-%b-%b",
        "kind": "%b",
        "at": "%b.%03dZ",
        "epoch_ms": "=%d%03d",
        "status": "=%d",
        "took_ms": "=%.3f",
        "request": {"trace": "%b", "ip": "%d.%d.%d.%d", "bytes": "=%d", "cached": "=%b"},
        "user": "=%b",
        "device": "=%b",
    }
)


def heads(world: World, random: Random, kinds: list[bytes], start: int) -> Iterator[bytes]:
    """Make what every event has: who, when, from where. Column by column, which is much faster."""
    draw, turns = random.random, range(BATCH)
    clock = [start + turn // RATE for turn in turns]
    ms = [int((turn % RATE + draw()) * 1000 / RATE) for turn in turns]
    columns = zip(
        *(hex_column(random, size) for size in (4, 2, 2, 2, 6)),
        kinds,
        *([second for turn in range(0, BATCH, RATE) for second in [iso(clock[turn])] * RATE], ms),
        *(clock, ms),
        random.choices(STATUSES, k=BATCH),
        [0.5 / (draw() + 0.0005) for _ in turns],
        hex_column(random, 8),
        *(random.randbytes(BATCH) for _ in range(4)),
        [200 + 40_000 * draw() ** 4 for _ in turns],
        random.choices((b"true", b"false", b"false", b"false"), k=BATCH),
        [usual(random, world.users) if draw() < 0.85 else b"null" for _ in turns],
        [usual(random, world.devices) if draw() < 0.95 else b"null" for _ in turns],
        strict=True,
    )
    return map(HEAD.__mod__, columns)


VIEW = template(
    {
        "page": {"path": "/%b/%d", "referrer": "=%b", "scroll": "=%.2f"},
        "load": {"dns": "=%d", "first_byte": "=%.1f", "paint": "=%.1f"},
    }
)


def view(world: World, random: Random) -> bytes:
    draw = random.random
    page = (any_of(random, PAGES), 900 * draw(), any_of(random, REFERRERS), draw())
    return VIEW % (*page, 90 * draw(), 20 + 400 * draw() ** 3, 80 + 2000 * draw() ** 3)


SEARCH = template({"query": "=%b", "filters": {"max": "=%b", "sort": "%b"}, "found": "=[%b]"})


def search(world: World, random: Random) -> bytes:
    limit = b"%d" % (20 * random.random() + 1) if random.random() < 0.3 else b"null"
    found = b",".join(random.choices(world.numbers, k=int(12 * random.random())))
    return SEARCH % (usual(random, world.phrases), limit, any_of(random, SORTS), found)


CART = template({"cart": {"number": "=%d", "items": "=[%b]", "total": "=%.2f"}})
ORDER = template(
    {
        "order": {"number": "W-%07d", "items": "=[%b]", "net": "=%.2f", "tax": "=%.4f"},
        "payment": {"method": "%b", "token": "%b", "last4": "%04d", "captured": "=%b"},
        "ship": {"by": "%b", "days": "=%d", "weight_kg": "=%.3f", "comment": "=%b"},
    }
)


def items(world: World, random: Random) -> bytes:
    return b",".join(random.choices(world.items, k=1 + int(6 * random.random() ** 2)))


def cart(world: World, random: Random) -> bytes:
    return CART % (10**6 * random.random(), items(world, random), 500 * random.random() ** 2)


def order(world: World, random: Random) -> bytes:
    draw, net = random.random, 500 * random.random() ** 2
    return ORDER % (
        *(10**7 * draw(), items(world, random), net, net * 0.19),
        *(any_of(random, METHODS), hexes(random, 16), 9999 * draw(), flag(random, 0.9)),
        *(any_of(random, CARRIERS), 1 + 6 * draw(), 20 * draw() ** 2, usual(random, world.phrases)),
    )


LOGIN = template({"login": {"method": "%b", "ok": "=%b", "attempt": "=%d", "session": "%b"}})


def login(world: World, random: Random) -> bytes:
    tries = 1 + 4 * random.random() ** 5
    return LOGIN % (any_of(random, LOGINS), flag(random, 0.93), tries, hexes(random, 12))


AUDIT = template(
    {"audit": {"actor": "=%d", "action": "%b", "changes": "=[%b]"}, "checksum": "sha256:%b"}
)


def audit(world: World, random: Random) -> bytes:
    changes = b",".join(random.choices(world.changes, k=1 + int(4 * random.random())))
    return AUDIT % (99 * random.random(), any_of(random, ACTIONS), changes, hexes(random, 32))


ERROR = template(
    {"error": {"type": "%b", "message": "=%b", "stack": "=[%b]", "retry": "=%b"}, "host": "%b-%d"}
)


def error(world: World, random: Random) -> bytes:
    draw = random.random
    stack = b",".join(random.choices(world.frames, k=2 + int(9 * draw())))
    what = (any_of(random, ERRORS), usual(random, world.phrases), stack)
    return ERROR % (*what, flag(random, 0.5), any_of(random, PAGES), 40 * draw())


REVIEW = template({"review": {"stars": "=%d", "text": "=%b", "product": "=%b", "helpful": "=%d"}})


def review(world: World, random: Random) -> bytes:
    draw = random.random
    phrases = random.choices(world.phrases, k=1 + int(8 * draw()))
    text = b" ".join(phrases).replace(b'" "', b" ")
    return REVIEW % (1 + 5 * draw() ** 0.5, text, usual(random, world.products), 60 * draw() ** 6)


def any_of(random: Random, choices: Sequence[Any]) -> Any:
    """Give one of the choices, each as likely."""
    return choices[int(random.random() * len(choices))]


def usual(random: Random, choices: list[bytes]) -> bytes:
    """Give one of the choices, the first ones most often."""
    return choices[int(random.random() ** 2 * len(choices))]


def hex_column(random: Random, size: int) -> list[bytes]:
    """Give `BATCH` times that many random bytes as hex digits."""
    return random.randbytes(size * BATCH).hex(" ", size).encode().split()


def iso(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


def hexes(random: Random, size: int) -> bytes:
    """Give that many random bytes as hex digits."""
    return random.randbytes(size).hex().encode()


def flag(random: Random, chance: float) -> bytes:
    return b"true" if random.random() < chance else b"false"


KINDS = (
    *((b"view", view),) * 8,
    *((b"search", search),) * 3,
    *((b"cart", cart),) * 3,
    *((b"order", order),) * 3,
    *((b"login", login),) * 2,
    *((b"audit", audit),) * 2,
    *((b"error", error),) * 2,
    *((b"review", review),) * 2,
)
STATUSES = (200,) * 30 + (201, 204, 301, 302, 304, 304, 400, 401, 403, 404, 404, 500, 503)
PAGES = (b"shop", b"account", b"sale", b"help", b"api/v3/stock", b"blog", b"gifts", b"cart")
REFERRERS = (b"null", b"null", b'"https://news.example/"', b'"https://search.example/?q=lamp"')
SORTS = (b"price", b"-price", b"newest", b"rating")
METHODS = (b"card", b"card", b"invoice", b"transfer", b"wallet")
CARRIERS = (b"bike", b"post", b"van", b"pickup")
LOGINS = (b"password", b"passkey", b"link", b"oauth")
ACTIONS = (b"approve", b"archive", b"load", b"merge", b"publish", b"revoke", b"store", b"update")
ERRORS = (b"ConnectionReset", b"DecodeError", b"KeyError", b"OutOfStock", b"Timeout", b"ValueError")
