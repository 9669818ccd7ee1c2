"""The jobs of the store benchmarks: who does what with which objects, and what must come out."""

from dataclasses import dataclass
from importlib.util import find_spec

from jobs import Must
from store_servers import lacking
from thread_jobs import Limit
from tools import HERE, OURS, PLACES

BUCKET = "bench"
S3 = f"s3://{BUCKET}"
PLAIN = 300 * 10**6  # bytes of JSON Lines of `s3copy`, and of the small run of `huge`
HUGE = 17  # times as much is the large one's: 5.1 GB
OBJECT = 200 * 10**6  # bytes of `read` and `sftp`
MANY, SMALL = 2_000, 20_000  # objects, and bytes of each
FEW = 100  # objects for those who take one at a time
PART = 8 << 20  # bytes that smart_open is given of `sftp`

SMART_OPEN = "smart_open loop"
ONE, FOUR = "boto3, one connection", "boto3, four connections"
BARE, BARE_BOTO3 = "obstore, 64 threads", "boto3, 64 threads"
ONE_BY_ONE, ONE_BY_ONE_BOTO3 = "obstore, one at a time", "boto3, one at a time"
PARAMIKO = "smart_open"
SMALL_RUN = f"{OURS}, 300 MB"


@dataclass(frozen=True)
class Against(Must):
    """A must whose two sides are not everyone's: `who` of ours, and memory as well as time."""

    who: str = OURS

    def __str__(self) -> str:
        text = super().__str__().replace("peak seconds", "peak memory")
        return text if self.who == OURS else f"{self.who}: {text}"


@dataclass(frozen=True)
class Way:
    """Someone's command line, and what part of the job it is for."""

    name: str
    command: str
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    checked: bool = True
    ours: bool = False
    needs: str = ""  # a place that the command has to find: an interpreter with a package
    size: float = 1  # how much of the job's amount it is given

    def missing(self, places: dict[str, str]) -> str:
        """Say why it cannot take part, or nothing."""
        lacks = [name for name in self.modules if find_spec(name.partition(".")[0]) is None]
        lacks += [lacking(self.programs)] if lacking(self.programs) else []
        if self.needs and not places.get(self.needs):
            return f"left out: {self.needs} cannot be installed"
        return f"missing: {', '.join(lacks)}" if lacks else ""


@dataclass(frozen=True)
class Job:
    """One table."""

    name: str
    title: str
    ways: tuple[Way, ...]
    musts: tuple[Must | Limit, ...]
    amount: float
    unit: str
    endpoint: str = ""  # which of the gateway's, if any
    inside: bool = False  # times are those of the transfer alone, without start and imports
    prepare: tuple[str, ...] = ()  # command lines that make what is read
    clear: str = ""  # the command line that removes what an earlier run wrote
    check: str = ""  # the command line that says what the output is worth
    rounds: int = 99  # at the most
    quick: bool = True


def peer(name: str, *arguments: str) -> str:
    return " ".join(("{python} {peers}", name, *arguments))


def data(name: str, *arguments: str) -> str:
    return " ".join(("{python} {data}", name, *arguments))


PLACES_HERE = {
    **PLACES,
    "peers": str(HERE / "store_peers.py"),
    "data": str(HERE / "store_data.py"),
}
COPY_OUT = f"{S3}/copied/out.jsonl.gz"
MANY_PATHS = f"'{S3}/in/*.jsonl' '{S3}/out/{{{{stem}}}}.jsonl' --transfers 64"
MANY_WORDS = f"in/ out/ {MANY}"

JOBS = (
    Job(
        "s3copy",
        "A Python function on every record, S3 to S3, .jsonl.gz of 300 MB to .jsonl.gz",
        (
            Way(
                OURS,
                f"{{ours}} -q --map {{clean}}:clean {S3}/events.jsonl.gz {COPY_OUT}",
                ours=True,
            ),
            Way(
                SMART_OPEN,
                f"{{python}} {{loops}} smart_open_map {S3}/events.jsonl.gz {COPY_OUT}",
                modules=("smart_open", "boto3"),
            ),
            Way(
                "boto3, gzip, orjson by hand",
                peer("hand_map", "events.jsonl.gz", "copied/out.jsonl.gz"),
                modules=("boto3", "orjson"),
            ),
            Way(
                "s3fs loop",
                f"{{s3fs}} {{peers}} s3fs_map {S3}/events.jsonl.gz {COPY_OUT}",
                needs="s3fs",
            ),
            Way(
                "DuckDB, text only, without the function",
                f"{{httpfs}} {{peers}} duckdb_copy {S3}/events.jsonl.gz {COPY_OUT}",
                needs="httpfs",
                checked=False,
            ),
        ),
        (Must(SMART_OPEN, "wall", 3, 3), Limit("peak MB", 120)),
        PLAIN / 1e6,
        "MB/s",
        "near",
        prepare=(data("put", "{events_gz}", "events.jsonl.gz"),),
        clear=data("clear", "copied/"),
        check=data("mapped", "copied/out.jsonl.gz", "{events}", "{folder}"),
    ),
    Job(
        "read",
        "One object of 200 MB, 20 ms away, 50 MB/s a connection",
        (
            Way(OURS, peer("ours_read", f"{S3}/object.bin", str(OBJECT)), ours=True),
            Way(ONE, peer("boto3_read", "object.bin", str(OBJECT)), modules=("boto3",)),
            Way(FOUR, peer("boto3_ranges", "object.bin", str(OBJECT)), modules=("boto3",)),
        ),
        (Must(ONE, "wall", 3, 3), Against(FOUR, "wall", 1.11, 1, faster=False)),
        OBJECT / 1e6,
        "MB/s",
        "slow",
        inside=True,
        prepare=(data("random", "object.bin", str(OBJECT)),),
    ),
    Job(
        "many",
        f"{MANY:,} objects of 20 KB to as many, 20 ms away",
        (
            Way(OURS, f"{{ours}} -q {MANY_PATHS}", ours=True, modules=("boto3",)),
            Way(BARE, peer("obstore_many", "in/", "out/", "64"), modules=("obstore",)),
            Way(BARE_BOTO3, peer("boto3_many", "in/", "out/", "64"), modules=("boto3",)),
            Way(
                ONE_BY_ONE,
                peer("obstore_many", "in/", "out/", "1", str(FEW)),
                modules=("obstore",),
                size=FEW / MANY,
            ),
            Way(
                ONE_BY_ONE_BOTO3,
                peer("boto3_many", "in/", "out/", "1", str(FEW)),
                modules=("boto3",),
                size=FEW / MANY,
            ),
            Way(
                "rclone, 64 transfers",
                f"rclone copy from:{BUCKET}/in to:{BUCKET}/out --transfers 64 --checkers 64",
                programs=("rclone",),
            ),
        ),
        (
            Against(BARE, "wall", 1.18, 1, faster=False),
            Against(BARE_BOTO3, "wall", 1.18, 1, faster=False),
            Must(ONE_BY_ONE, "wall", 20, 20),
            Must(ONE_BY_ONE_BOTO3, "wall", 8, 8),
        ),
        MANY,
        "objects/s",
        "far",
        prepare=(data("many", "{events}", "in/", str(MANY), str(SMALL)),),
        clear=data("clear", "out/"),
        check=data("same", MANY_WORDS),
    ),
    Job(
        "sftp",
        "200 MB from OpenSSH's server to nothing",
        (
            Way(OURS, peer("ours_sftp_read", str(OBJECT)), ours=True, modules=("asyncssh",)),
            Way(
                PARAMIKO,
                peer("smart_open_sftp_read", str(PART)),
                modules=("smart_open", "paramiko"),
                size=PART / OBJECT,
            ),
            Way(
                f"{PARAMIKO}, with prefetch_kwargs",
                peer("smart_open_sftp_read", str(OBJECT), "prefetch"),
                modules=("smart_open", "paramiko"),
            ),
        ),
        (Must(PARAMIKO, "wall", 10, 10),),
        OBJECT / 1e6,
        "MB/s",
        inside=True,
        prepare=(data("sftp", str(OBJECT), str(PART)),),
    ),
    Job(
        "sftp",
        "200 MB from memory to OpenSSH's server",
        (
            Way(OURS, peer("ours_sftp_write", str(OBJECT)), ours=True, modules=("asyncssh",)),
            Way(
                PARAMIKO,
                peer("smart_open_sftp_write", str(PART)),
                modules=("smart_open", "paramiko"),
                size=PART / OBJECT,
            ),
        ),
        (Must(PARAMIKO, "wall", 10, 10),),
        OBJECT / 1e6,
        "MB/s",
        inside=True,
        check=data("sftp_written"),
    ),
    Job(
        "huge",
        "5.1 GB of .jsonl, S3 to S3, copied; and 300 MB of the same",
        (
            Way(OURS, f"{{ours}} -q {S3}/huge.jsonl {S3}/copied/huge.jsonl", ours=True),
            Way(
                SMALL_RUN,
                f"{{ours}} -q {S3}/plain.jsonl {S3}/copied/plain.jsonl",
                ours=True,
                size=1 / HUGE,
            ),
        ),
        (Against(SMALL_RUN, "peak", 1.15, 1.15, faster=False),),
        PLAIN * HUGE / 1e6,
        "MB/s",
        "near",
        prepare=(
            data("put", "{events}", "plain.jsonl"),
            data("repeat", "plain.jsonl", "huge.jsonl", str(HUGE)),
        ),
        clear=data("clear", "copied/"),
        check=data("alike", "huge.jsonl copied/huge.jsonl plain.jsonl copied/plain.jsonl"),
        rounds=1,
        quick=False,
    ),
)
