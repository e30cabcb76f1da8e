"""What travels with a job: a few small files, and never a credential. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from au_dist.core.errors import ClusterError

MAX_FILES_BYTES = 1024 * 1024
"""A job's working directory carries a recipe, not code and not data."""

_SHORTEST_SECRET = 8  # characters; shorter values stand in innocent text by chance
_SECRET_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY|TOKEN(?![A-Z]|_PATH|_FILE)", re.IGNORECASE
)
_SECRET_SETTING = re.compile(r"\b(AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN)\s*[=:]\s*[^\s$]", re.IGNORECASE)
_SECRET_IN_URI = re.compile(r"://[^/\s:@]*:[^$@\s/][^@\s/]*@")


def packed(files: Mapping[str, Path | str | bytes]) -> dict[str, bytes]:
    """Read the files that travel with a job.

    Args:
        files: Contents by name: a path to read, or text, or bytes. Names are relative, with `/` between folders.

    Returns:
        Bytes by name.

    Raises:
        ClusterError: A name leaves the folder, a file cannot be read, or all together exceed `MAX_FILES_BYTES`.
    """
    contents = {}
    for name, content in files.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise ClusterError("A file of the job has an impossible name", where=repr(name), expected="a relative one")
        contents[name] = _bytes_of(content)
    size = sum(len(content) for content in contents.values())
    if size > MAX_FILES_BYTES:
        name = max(contents, key=lambda key: len(contents[key]))
        raise ClusterError(
            "The files of the job are too large",
            where=f"{name}, {len(contents[name]):,} bytes",
            expected=f"{MAX_FILES_BYTES:,} bytes in all: a recipe",
            found=f"{size:,} bytes",
            fix="Code belongs into the nodes' image, data into object storage",
        )
    return contents


def refuse_secrets(
    entrypoint: Sequence[str],
    env: Mapping[str, str],
    metadata: Mapping[str, str],
    contents: Mapping[str, bytes],
    surroundings: Mapping[str, str],
) -> None:
    """Refuse to send a credential where the cluster would keep and show it.

    Args:
        entrypoint: The job's command.
        env: Variables that would travel with it.
        metadata: Its metadata.
        contents: Its files.
        surroundings: The caller's environment: values of variables with telling names are looked for.

    Raises:
        ClusterError: There is one. It is named, never shown.
    """
    for name in env:
        if _SECRET_NAME.search(name):
            raise _refusal(f"the variable {name}", "its name")
    values = {
        value: name
        for name, value in surroundings.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    }
    texts = {
        "the command": " ".join(entrypoint),
        **{f"the variable {name}": value for name, value in env.items()},
        **{f"the metadata {name}": f"{name}={value}" for name, value in metadata.items()},
        **{f"the file {name}": content.decode(errors="replace") for name, content in contents.items()},
    }
    for where, text in texts.items():
        if _SECRET_SETTING.search(text):
            raise _refusal(where, "the setting of an AWS secret")
        if _SECRET_IN_URI.search(text):
            raise _refusal(where, "a URI with a password")
        for value, name in values.items():
            if value in text:
                raise _refusal(where, f"the value of {name}")


def _refusal(where: str, found: str) -> ClusterError:
    return ClusterError(
        "A credential would be stored by the cluster, readable for everybody who may see its jobs",
        where=where,
        found=found,
        fix="Give the nodes the credential: an instance role, a Kubernetes secret, or the shell of `cluster up`",
    )


def _bytes_of(content: Path | str | bytes) -> bytes:
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes):
        return content
    try:
        size = content.stat().st_size
        # Not read when it is hopeless: somebody may hand in a video by mistake.
        return content.read_bytes() if size <= MAX_FILES_BYTES else bytes(size)
    except OSError as error:
        raise ClusterError("A file of the job cannot be read", where=content, found=error.strerror) from error
