"""SFTP."""

from paipa_etl.schemes import Scheme

SCHEME = Scheme(
    ("sftp",),
    engine="paipa_etl.stores.sftp:SftpFile",
    has_host=True,
    slash_is_folder=True,
    extra="sftp",
    loggers=("asyncssh", "paramiko", "smart_open"),
)
