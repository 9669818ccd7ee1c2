"""The invented web shop that the events are about: its users, devices, products and phrases."""

# ruff: noqa: SIM905 (lists of words are easier to read as text)

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, TypeVar

import orjson

T = TypeVar("T")


class World(NamedTuple):
    """What events are about: lists of pieces, each encoded as JSON."""

    users: list[bytes]
    devices: list[bytes]
    products: list[bytes]
    items: list[bytes]
    changes: list[bytes]
    frames: list[bytes]
    phrases: list[bytes]
    numbers: list[bytes]


def make_world(random: Random) -> World:
    """Make a world from a random generator."""

    def encoded(make: Callable[[Random, int], object], size: int) -> list[bytes]:
        return [orjson.dumps(make(random, number)) for number in range(size)]

    return World(
        users=encoded(user, 6000),
        devices=encoded(device, 1500),
        products=encoded(product, 4000),
        items=encoded(item, 9000),
        changes=encoded(change, 5000),
        frames=encoded(frame, 9000),
        phrases=encoded(phrase, 5000),
        numbers=encoded(lambda _, number: number, 9000),
    )


def user(random: Random, number: int) -> dict[str, Any]:
    """Make one user: some keys are not always there, some values are null."""
    first, last = pick(random, FIRST), pick(random, LAST)
    city, country, latitude, longitude = pick(random, CITIES)
    made: dict[str, Any] = {
        "id": 10_000 + number * 7,
        "name": f"{first} {last}",
        "email": f"{first}.{last}{number}@Example.{pick(random, ('com', 'org', 'net'))}",
        "city": city,
        "country": country,
        "credit": round(random.random() ** 3 * 900, 2),
    }
    if random.random() < 0.1:
        made["email"] = None
    if random.random() < 0.3:
        made["geo"] = [near(random, latitude), near(random, longitude)]
    if random.random() < 0.25:
        made["groups"] = sorted({pick(random, GROUPS) for _ in range(3)})
    return made


def device(random: Random, _: int) -> dict[str, Any]:
    """Make one device."""
    system, agent, width, height = pick(random, SYSTEMS)
    version = f"{int(100 + random.random() * 40)}.0.{int(random.random() * 7000)}"
    return {
        "agent": f"{agent} {pick(random, ENGINES)}/{version}",
        "os": system,
        "screen": None if width == 0 else [width, height],
        "touch": 0 < width < 1100,
    }


def product(random: Random, number: int) -> dict[str, Any]:
    """Make one product."""
    return {
        "sku": f"{pick(random, 'KLMPRTX')}{pick(random, 'AEIOU')}-{number:05d}",
        "title": f"{pick(random, LOOKS)} {pick(random, THINGS)}",
        "price": round(3 + random.random() ** 4 * 700, 2),
    }


def item(random: Random, _: int) -> dict[str, Any]:
    """Make one line of a cart."""
    return {
        "product": product(random, int(random.random() * 4000)),
        "quantity": 1 + int(3 * random.random() ** 3),
        "gift": random.random() < 0.1,
        "note": phrase(random) if random.random() < 0.2 else None,
    }


def change(random: Random, _: int) -> dict[str, Any]:
    """Make one change of a field. Always text or null: tools with schemas alter mixed types."""

    def value() -> str | None:
        chance = random.random()
        return phrase(random) if chance < 0.5 else None if chance < 0.6 else f"{chance * 1e3:.3f}"

    return {"field": pick(random, FIELDS), "from": value(), "to": value()}


def frame(random: Random, _: int) -> dict[str, Any]:
    """Make one frame of a stack."""
    return {
        "in": f"shop.{pick(random, MODULES)}.{pick(random, VERBS)}",
        "line": int(random.random() * 900),
        "address": f"0x{random.randbytes(4).hex()}",
    }


def phrase(random: Random, _: int = 0) -> str:
    """Make a few words of what people write."""
    return " ".join(pick(random, WORDS) for _ in range(2 + int(random.random() * 9)))


def pick(random: Random, choices: tuple[T, ...] | list[T] | str) -> Any:
    """Give one of the choices, each as likely."""
    return choices[int(random.random() * len(choices))]


def near(random: Random, degrees: float) -> float:
    return round(degrees + (random.random() - 0.5) / 5, 5)


FIRST = (
    "Adaeze Alice Amélie Andrew Bogdan Carmen Clara Daniel Davit Edith Emre Frank Freya Grace "
    "Goran Hannah Hélène Ivo Jana Jack Kenji Laura Leila Lucas Marek Maria Nadia Nora Ondřej Oscar "
    "Paula Peter Rasmus Robert Sara Saoirse Simon Tariq Thomas Ülkü Vera Wanjiru Xiomara Yusuf "
    "Zoë 陽子 अनिल Ирина".split()
)
LAST = (
    "Abara Anderson Bennett Brandão Carter Costa Demir Evans Ferrari Fischbach Grant Håkansson "
    "Hughes Iyer Jackson Kovač Lambert Lindqvist Marsh Mbeki Morgan Nowak O'Brien Palmer Pérez "
    "Quiroga Reid Sato Schäfer Taylor Tran Underwood Vasquez Walker Weiß Yılmaz Zhang 小林".split()
)
CITIES = (
    ("Aarhus", "DK", 56.1567, 10.2108),
    ("Austin", "US", 30.2672, -97.7431),
    ("Bogotá", "CO", 4.7110, -74.0721),
    ("Brno", "CZ", 49.1951, 16.6068),
    ("Cardiff", "GB", 51.4816, -3.1791),
    ("Dakar", "SN", 14.7167, -17.4677),
    ("Genève", "CH", 46.2044, 6.1432),
    ("Hanoi", "VN", 21.0278, 105.8342),
    ("İzmir", "TR", 38.4237, 27.1428),
    ("Lisbon", "PT", 38.7223, -9.1393),
    ("Malmö", "SE", 55.6050, 13.0038),
    ("Nairobi", "KE", -1.2921, 36.8219),
    ("Portland", "US", 45.5152, -122.6784),
    ("Pune", "IN", 18.5204, 73.8567),
    ("Toronto", "CA", 43.6532, -79.3832),
    ("Wellington", "NZ", -41.2865, 174.7762),
    ("京都", "JP", 35.0116, 135.7681),
)
GROUPS = ("beta", "family", "newsletter", "press", "staff", "student", "vip", "wholesale")
SYSTEMS = (
    ("Android 15", "Mozilla/5.0 (Linux; Android 15; Mobile)", 412, 915),
    ("Android 14", "Mozilla/5.0 (Linux; Android 14; Tablet)", 800, 1280),
    ("iOS 18.2", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X)", 393, 852),
    ("macOS 15.1", "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_1)", 1728, 1117),
    ("Windows 11", "Mozilla/5.0 (Windows NT 11.0; Win64; x64)", 1920, 1080),
    ("Ubuntu 24.04", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64)", 2560, 1440),
    ("unknown", "shop-sync (+https://shop.example/bots)", 0, 0),
)
ENGINES = ("Chrome", "Firefox", "Safari", "Vivaldi")
LOOKS = (
    "Amber Brushed Compact Copper Folding Glazed Hand-made Heavy Ivory Large Linen Matte Oak "
    "Padded Quiet Rustic Slim Small Spare Striped Travel Walnut Waterproof Wool Crème".split()
)
THINGS = (
    "Apron Basket Blanket Bookend Bottle Bowl Candle Chair Clock Cushion Desk Drawer Easel Fan "
    "Grinder Hammock Jug Kettle Lamp Mirror Mug Notebook Planter Rack Scarf Stool Teapot Tray "
    "Umbrella Vase 'Rosé' Wardrobe".split()
)
FIELDS = "address label limit price quota role stock title".split()
MODULES = "basket catalog checkout feed ledger mail stock tax users".split()
VERBS = "close commit fetch flush load lock parse render retry save send verify".split()
WORDS = (
    "about after again almost arrived at back because before better bought box broken but came "
    "can card case colour could day delivery different does each easy email even every expected "
    "fast fits found from gave good had half hard help here home how if in instead it just keep "
    "last late less like little long looks lost made many missing more much need never new nice "
    "not now of old on once only open order other our out over paid paper parcel part price "
    "quick quite really return right same second see sent should size small some soon still such "
    "takes than thanks that their then there this too twice two under until used very wait want "
    "was week well what when where which why wrong year yet you naïve 届いた "
    '100% "fine"'.split()
)
