"""What the check of scripts knows of the bash that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from nix.builder import check

if TYPE_CHECKING:
    from pathlib import Path

# As in nixpkgs, whose bash is built without readline.
PLAIN_BASH: Final = """\
#!/bin/bash
[[ $1 != -c ]] || exec /bin/bash -c "enable -n bind compgen complete compopt; $2"
exec /bin/bash "$@"
"""


@pytest.mark.slow
def test_builtins_are_those_of_a_bash_without_readline(tmp_path: Path) -> None:
    bash = tmp_path / "bash"
    bash.write_text(PLAIN_BASH, encoding="utf-8")
    bash.chmod(0o755)

    found = check._builtins(str(bash))

    assert {"cd", "read", "local", "[", ".", ":", "shift", "trap", "mapfile"} <= found
    assert not {"compgen", "bind", "-n", "enable -n"} & found
