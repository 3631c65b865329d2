"""The private Slurm cluster with accounting: slurmdbd and a MariaDB of its own.

``python -m tests.real.slurm_accounting -- bash`` opens a shell on one. It needs Debian's packages
``slurmdbd mariadb-server-core`` too. The database listens on a socket in a folder of the cluster
and nowhere else, and asks for no password: only Slurm and root can enter that folder. root and the
ordinary user (slurm_user.py) have the account ``lab``; other accounts and limits are a matter
of ``sacctmgr``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.real import slurm_cluster, slurm_user
from tests.real.slurm_cluster import CONTROLLER, Cluster

_TABLES: Final = Path("/usr/share/mysql/mysql_system_tables.sql")
# What a database that lives for minutes can do without: room, and a copy on a disk.
_DATABASE: Final = (
    *("mariadbd", "--no-defaults", "--user=root", "--skip-networking", "--skip-grant-tables"),
    *("--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-undo-tablespaces=0"),
    *("--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M", "--innodb-flush-method=nosync"),
)

_DBD_CONF: Final = """\
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
PidFile={root}/slurmdbd.pid
LogFile={root}/slurmdbd.log
"""


class AccountedCluster(Cluster):
    """A cluster where who may submit what is looked up, and what has run is written down."""

    def __init__(self, root: Path) -> None:
        """Prepare the folder; nothing runs yet."""
        super().__init__(root)
        self._always = {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": self._ports[3],
            "AccountingStoragePass": root / "munge.socket",  # its name in slurm.conf
            "AccountingStorageEnforce": "associations,limits,qos,safe",
        }
        # What the client library of slurmdbd takes for the socket of `localhost`.
        (root / "private").mkdir(mode=0o700)
        shutil.chown(root / "private", CONTROLLER, CONTROLLER)
        self.env["MYSQL_UNIX_PORT"] = str(root / "private" / "database.socket")

    def _start_accounting(self) -> None:
        self._start_database()
        self._start_slurmdbd()
        for words in (
            "add cluster repxtest",
            "add account lab",
            f"add user root,{slurm_user.NAME} account=lab",
            f"modify user root,{slurm_user.NAME} set defaultaccount=lab",
        ):
            self.sh("sacctmgr", "--immediate", "--quiet", *words.split())

    def _start_database(self) -> None:
        data = self.root / "database"
        scratch = self.root / "scratch"  # in a shared one they remove each other's tables
        data.mkdir()
        scratch.mkdir()
        listening = Path(self.env["MYSQL_UNIX_PORT"])
        folders = (f"--datadir={data}", f"--tmpdir={scratch}")
        argv = [*_DATABASE, *folders, f"--socket={listening}"]
        statements = f"CREATE DATABASE mysql;\nUSE mysql;\n{_TABLES.read_text()}"
        made = subprocess.run(
            [*argv, "--bootstrap"], env=self.env, input=statements, text=True, check=False
        )
        made.check_returncode()
        self._spawn("mariadbd", argv)
        self.wait(listening.exists)

    def _start_slurmdbd(self) -> None:
        conf = self.root / "slurmdbd.conf"
        conf.touch(0o600)
        shutil.chown(conf, CONTROLLER, CONTROLLER)
        conf.write_text(_DBD_CONF.format(root=self.root, port=self._ports[3], user=CONTROLLER))
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self.wait(lambda: self.sh("sacctmgr", "show", "cluster", check=False).returncode == 0)


if __name__ == "__main__":
    sys.exit(slurm_cluster.main(sys.argv[1:], AccountedCluster))
