"""Files with people's private keys: where they lie, how they are written and read. Nobody but their owner may read one."""

import os
from pathlib import Path

from hansard.reviews import BadKey

FOLDER = Path("~/.config/hansard")
LARGEST = 16 * 1024  # bytes


def key_file(name: str) -> Path:
    """Where the key of a person of this name lies, if no file is named."""
    return FOLDER.expanduser() / f"{name.replace('/', '_')}.pem"


def write_key(path: Path, private: bytes) -> None:
    """Makes the file with mode 600, and folders that are missing with mode 700. Raises BadKey where it is there already."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadKey(f"{path} is there already, and is not overwritten") from None
    except (OSError, ValueError) as refused:
        raise BadKey(f"{path} cannot be made: {refused}") from None
    with os.fdopen(made, "wb") as file:
        os.fchmod(made, 0o600)
        file.write(private)
        file.flush()
        os.fsync(made)


def read_key(path: Path) -> bytes:
    """What a file holds that only its owner may read. Raises BadKey."""
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise BadKey(f"others may read {path}: `chmod 600` it, or make a new key")
            return file.read(LARGEST)
    except FileNotFoundError:
        raise BadKey(f"there is no file {path}: `hansard people add` makes a key, or name yours") from None
    except (OSError, ValueError) as refused:
        raise BadKey(f"{path} cannot be read: {refused}") from None
